"""Accuracy and loss of all networks of a stack."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.model import EVALUATION, StackedModel
from nn_graphs.networks.classifiers.step import cross_entropies

EVALUATION_BATCH = 256


class Scores(NamedTuple):
    """Accuracies from 0 to 1 and mean cross-entropies; NaN losses tell of diverged networks."""

    train_accuracy: Float[Tensor, "N"]
    train_loss: Float[Tensor, "N"]
    test_accuracy: Float[Tensor, "N"]
    test_loss: Float[Tensor, "N"]


@torch.no_grad()
def evaluate(
    model: StackedModel,
    params: Float[Tensor, "N num_params"],
    buffers: Float[Tensor, "N num_buffers"],
    data: LabelledData,
    seen: Bool[Tensor, "N_or_1 num_train"],
    *,
    batch_size: int = EVALUATION_BATCH,
) -> Scores:
    """Scores with running statistics and without dropout.

    Args:
        model, params, buffers: the stack.
        data: all networks are scored on all test inputs,
        seen: and on those of the training inputs that each is trained on.
        batch_size: inputs at a time.
    """
    sums = []
    for start, stop in ((0, data.num_train), (data.num_train, len(data.labels))):
        weights = seen if start == 0 else seen.new_ones(1, stop - start)
        total = params.new_zeros(2, len(params))
        for first in range(start, stop, batch_size):
            index = torch.arange(first, min(first + batch_size, stop), device=params.device)
            labels = data.labels[index][None]
            logits, _ = model(params, buffers, data.take(index)[None], EVALUATION)
            weight = weights[:, index - start].to(logits.dtype)
            is_right = (logits.argmax(2) == labels).to(logits.dtype)
            total[0] += (is_right * weight).sum(1)
            total[1] += torch.where(weight > 0, cross_entropies(logits, labels), 0).sum(1)
        sums += [*(total / weights.sum(1))]
    return Scores(*(values.cpu() for values in sums))
