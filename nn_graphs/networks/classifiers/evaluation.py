"""Quality and loss of all networks of a stack."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.model import EVALUATION, StackedModel
from nn_graphs.networks.classifiers.objectives import (
    RegressionScores,
    Scores,
    objective_of,
    variances,
)

EVALUATION_BATCH = 256


@torch.no_grad()
def evaluate(
    model: StackedModel,
    params: Float[Tensor, "N num_params"],
    buffers: Float[Tensor, "N num_buffers"],
    data: LabelledData,
    seen: Bool[Tensor, "N_or_1 num_train"],
    *,
    batch_size: int = EVALUATION_BATCH,
) -> Scores | RegressionScores:
    """Scores with running statistics and without dropout.

    Args:
        model, params, buffers: the stack.
        data: all networks are scored on all test inputs,
        seen: and on those of the training inputs that each is trained on.
        batch_size: inputs at a time.
    """
    objective, sums = objective_of(data.labels), []
    for start, stop in ((0, data.num_train), (data.num_train, len(data.labels))):
        weights = seen if start == 0 else seen.new_ones(1, stop - start)
        variance = variances(data.labels[start:stop], weights).to(params.dtype)
        total = params.new_zeros(2, len(params))
        for first in range(start, stop, batch_size):
            index = torch.arange(first, min(first + batch_size, stop), device=params.device)
            labels = data.labels[index][None]
            outputs, _ = model(params, buffers, data.take(index)[None], EVALUATION)
            is_seen = weights[:, index - start]
            for row, values in enumerate(
                (
                    objective.qualities(outputs, labels, variance),
                    objective.losses(outputs, labels),
                )
            ):
                total[row] += torch.where(is_seen, values, 0).sum(1)
        sums += [*(total / weights.sum(1))]
    return objective.scores(*(values.cpu() for values in sums))
