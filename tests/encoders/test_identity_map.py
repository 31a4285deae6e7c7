"""Encoders keep what they were given: a head without skip learns to put out every parameter.

The public code cannot: its head reads the biases two neurons early ("unable to learn identity
mapping", an issue of ScaleGMN, which inherited it). A head that adds to its input learns the
identity for free, so this one does not. (With Fourier features rare large values take longer.)
"""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from nn_graphs.encoders.dws import DWSNet
from nn_graphs.encoders.editor import Editor
from nn_graphs.encoders.equivariant.head import EquivariantHead
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphModel, ParameterHead
from nn_graphs.encoders.nfn import NFN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from tests.encoders.cases import inr

TEMPLATE = inr(2, 6, 5, 1)
DIMS = GraphDims.of([TEMPLATE])
ENCODERS = {
    "gnn": lambda statistics: NGGNN(
        [TEMPLATE], statistics, dim=24, num_layers=2, dropout=0.0, fourier_sigma=None
    ),
    "scalegmn": lambda statistics: ScaleGMN([TEMPLATE], statistics, dim=24, num_layers=2),
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
BATCH_SIZE, LEARNING_RATE = 24, 1e-2


@pytest.mark.parametrize(
    ("name", "num_steps"),
    [("gnn", 400), ("scalegmn", 150), pytest.param("ngt", 350, marks=pytest.mark.slow)],
)
def test_learns_the_identity(name, num_steps):
    torch.manual_seed(0)
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, random_params(1000))])
    encoder = ENCODERS[name](statistics)
    make_head = getattr(encoder, "parameter_head", ParameterHead)
    head = make_head(
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
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=num_steps)
    for _ in range(num_steps):
        optimizer.zero_grad()
        sum(errors(random_params(BATCH_SIZE)).values()).backward()
        optimizer.step()
        schedule.step()

    with torch.no_grad():
        relative = {name: error.item() for name, error in errors(random_params(300)).items()}
    assert max(relative.values()) < 1e-3, relative


WEIGHT_SPACE_ENCODERS = {
    "dws": lambda *args: DWSNet(*args, dim=2, num_layers=2, has_batch_norm=False),
    "nfn_np": lambda *args: NFN(*args, variant="np", dims=(2, 2), fourier_sigma=None, num_bands=1),
    "nfn_hnp": lambda *args: NFN(
        *args, variant="hnp", dims=(2, 2), fourier_sigma=None, num_bands=0
    ),
}


@pytest.mark.parametrize("name", WEIGHT_SPACE_ENCODERS)
def test_the_identity_is_among_the_maps_of_weight_spaces(name):
    """Layers pass on x and -x, of which relu leaves one, and the head takes one from the other."""
    torch.manual_seed(0)
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, random_params(1000))])
    encoder = WEIGHT_SPACE_ENCODERS[name](TEMPLATE, statistics).double()
    spaces = encoder.spaces
    head = EquivariantHead(
        spaces, dim=2, dims=DIMS, statistics=statistics, is_residual=False
    ).double()
    params = random_params(60).double()
    graphs = TEMPLATE.stack(params)
    nodes, edges = encoder.values(graphs)
    if getattr(encoder, "positions", None) is not None:
        nodes, edges = encoder.positions(nodes, edges)
    values = spaces.split(nodes, edges)
    num_channels = nodes.shape[-1]
    for linear in encoder.layers.linears:
        passed = [_both_signs(part, num_channels) for part in values]
        _solve(linear, values, passed)
        values, num_channels = [part.relu() for part in linear(values)], 2
    wanted = TEMPLATE.stack(params / (0.01 * statistics.per_parameter(TEMPLATE, DIMS)[1]))
    _solve(head.linear, values, spaces.split(wanted.node_features, wanted.edge_features))
    others = random_params(30).double()
    found = Editor(encoder, head)(TEMPLATE.stack(others)).squeeze(1)
    assert (found - others).abs().max() < 1e-6 * others.abs().max()


def _both_signs(values: Tensor, num_channels: int) -> Tensor:
    """The values in the first channel, or the difference of two, with both signs."""
    channels = values.unflatten(-1, (-1, num_channels))
    first = channels[..., :1]
    if num_channels == 2:
        first = first - channels[..., 1:]
    return torch.cat([first, -first], dim=-1).flatten(-2)


def _solve(linear: nn.Module, values: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """Gives a linear map the parameters with which it makes what is wanted of the values."""
    parameters = dict(linear.named_parameters())
    sizes = [parameter.numel() for parameter in parameters.values()]

    def outputs(flat: Tensor) -> Tensor:
        parts = zip(parameters.items(), flat.split(sizes), strict=True)
        given = {name: part.view_as(parameter) for (name, parameter), part in parts}
        return torch.cat([part.flatten() for part in functional_call(linear, given, (values,))])

    columns = vmap(outputs)(torch.eye(sum(sizes), dtype=torch.float64))
    target = torch.cat([part.flatten() for part in wanted])
    solution = torch.linalg.lstsq(columns.T, target[:, None], driver="gelsd").solution[:, 0]
    with torch.no_grad():
        for parameter, part in zip(parameters.values(), solution.split(sizes), strict=True):
            parameter.copy_(part.view_as(parameter))


def random_params(count: int):
    """Networks never seen before, of another scale and mean in every layer."""
    params = torch.randn(count, TEMPLATE.num_params)
    for number, slot in enumerate(TEMPLATE.parameters.slots):
        params[:, slot.offset : slot.offset + slot.size] *= 0.1 * 2**number
        params[:, slot.offset : slot.offset + slot.size] += 0.1 * number
    return params
