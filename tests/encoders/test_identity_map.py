"""Encoders keep what they were given: a head without skip learns to put out every parameter.

The public code cannot: its head reads the biases two neurons early ("unable to learn identity
mapping", an issue of ScaleGMN, which inherited it). A head that adds to its input learns the
identity for free, so this one does not. (With Fourier features rare large values take longer.)
"""

import pytest
import torch

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphModel, ParameterHead
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from tests.encoders.cases import inr

TEMPLATE = inr(2, 6, 5, 1)
DIMS = GraphDims.of([TEMPLATE])
ENCODERS = {
    "gnn": lambda statistics: NGGNN(
        [TEMPLATE], statistics, dim=24, num_layers=2, dropout=0.0, fourier_sigma=None
    ),
    "ngt": lambda statistics: NGT(
        [TEMPLATE],
        statistics,
        node_dim=24,
        edge_dim=16,
        attention_dim=16,
        node_hidden_dim=32,
        edge_hidden_dim=32,
        num_layers=2,
        num_heads=2,
        dropout=0.0,
        fourier_sigma=None,
        has_last_edge_update=True,
    ),
}
NUM_STEPS, BATCH_SIZE, LEARNING_RATE = 500, 24, 1e-2


@pytest.mark.parametrize("name", ENCODERS)
def test_learns_the_identity(name):
    torch.manual_seed(0)
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, random_params(1000))])
    encoder = ENCODERS[name](statistics)
    head = ParameterHead(
        encoder.node_dim, encoder.edge_dim, dims=DIMS, statistics=statistics, is_residual=False
    )
    model = GraphModel(encoder, head)
    std = statistics.per_parameter(TEMPLATE, DIMS)[1]

    def errors(params) -> dict[str, torch.Tensor]:
        """Mean squared error of every weight and bias, in relation to its variance."""
        found = model(TEMPLATE.stack(params)).params
        of_each = TEMPLATE.parameters.unflatten(((found - params) / std).square())
        return {name: error.mean() for name, error in of_each.items()}

    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=NUM_STEPS)
    for _ in range(NUM_STEPS):
        optimizer.zero_grad()
        sum(errors(random_params(BATCH_SIZE)).values()).backward()
        optimizer.step()
        schedule.step()

    with torch.no_grad():
        relative = {name: error.item() for name, error in errors(random_params(300)).items()}
    assert max(relative.values()) < 1e-3, relative


def random_params(count: int):
    """Networks never seen before, of another scale and mean in every layer."""
    params = torch.randn(count, TEMPLATE.num_params)
    for number, slot in enumerate(TEMPLATE.parameters.slots):
        params[:, slot.offset : slot.offset + slot.size] *= 0.1 * 2**number
        params[:, slot.offset : slot.offset + slot.size] += 0.1 * number
    return params
