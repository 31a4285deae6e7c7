"""How small graph networks that predict numbers are fitted: AdamW under a one-cycle schedule."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

WARM_UP = 0.1  # of the steps


def fit_one_cycle(
    model: nn.Module,
    inputs: Sequence[Tensor],
    targets: Float[Tensor, " N"],
    *,
    num_epochs: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float,
) -> None:
    """Trains a model in place to predict targets, by squared errors; torch's seed gives the order.

    Args:
        model: predictions `[B]` of the inputs of a batch, as many arguments as inputs.
        inputs: of all graphs, first axis = graphs.
        targets: of each graph.
        num_epochs, batch_size: of the training; the last batch of an epoch may be smaller.
        learning_rate: the highest.
        weight_decay: of AdamW.
    """
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
    num_steps = num_epochs * -(-len(targets) // batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, learning_rate, total_steps=num_steps, pct_start=WARM_UP
    )
    for _ in range(num_epochs):
        for places in torch.randperm(len(targets)).split(batch_size):
            loss = F.mse_loss(model(*(part[places] for part in inputs)), targets[places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
