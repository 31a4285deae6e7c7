"""Networks of cells: what the constructor is told, what cells see, and what is said of bad ones."""

import pytest
import torch
from torch import nn

from nn_graphs.networks.dag.cell_network import (
    CellNetwork,
    ReductionCell,
    reduction_cell,
    side_by_side,
)
from nn_graphs.structure.layered_graph import LayeredGraph
from tests.graphs.tracing.faithful import assert_faithful
from tests.networks.dag.structures import small_world

pytestmark = pytest.mark.usefixtures("one_thread")
STRUCTURE = LayeredGraph.from_edges([0, 1, 2, 0], [2, 2, 3, 3], 5)


class Sum(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.sum(1, keepdim=True)


def test_constructors_are_told_where_a_cell_stands():
    told = []

    def construct(**where):
        told.append(where)
        return Sum()

    CellNetwork(STRUCTURE, construct, num_classes=2, input_channel_size=3)
    names = "is_input", "is_output", "in_degree", "out_degree", "layer", "input_channel_size"
    rows = [tuple(where[name] for name in names) for where in told]
    assert rows == [
        (True, False, 0, 2, 0, 3),
        (True, False, 0, 1, 0, 3),
        (False, False, 2, 1, 1, 3),
        (False, True, 2, 0, 2, 3),
        (True, True, 0, 0, 0, 3),
    ]
    assert all(len(where) == 6 for where in told)


def test_cells_see_the_cells_that_lead_to_them():
    """Each sums up: node 2 is twice the input, node 3 three times, node 4 once."""
    network = CellNetwork(STRUCTURE, lambda **_: Sum(), num_classes=2, input_channel_size=3).eval()
    images = torch.randn(4, 3, 5, 6)
    total = images.sum(1, keepdim=True)
    ends = torch.cat([3 * total, total], 1)
    wanted = network.head(network.norm(network.collect(ends)).mean((2, 3)))
    assert torch.allclose(network(images), wanted, atol=1e-5)
    assert network.structure.equals(STRUCTURE)


def test_smaller_images_get_zeros_below_and_to_the_right():
    found = side_by_side([torch.ones(2, 1, 3, 2), torch.ones(2, 2, 1, 4)])
    assert found.shape == (2, 3, 3, 4)
    assert found[0, 0].tolist() == [[1, 1, 0, 0]] * 3
    assert found[0, 1].tolist() == [[1] * 4, [0] * 4, [0] * 4]


def test_a_published_size_runs():
    """A Watts-Strogatz graph of 200 reduction cells on images of 3 x 50 x 50."""
    network = CellNetwork(small_world(200), reduction_cell, num_classes=10, input_channel_size=3)
    outputs = network(torch.randn(3, 3, 50, 50))
    assert outputs.shape == (3, 10)
    assert sum(isinstance(module, ReductionCell) for module in network.modules()) == 200
    outputs.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_networks_trace_save_and_export(tmp_path):
    torch.manual_seed(0)
    network = CellNetwork(STRUCTURE, reduction_cell, num_classes=2, input_channel_size=1)
    network(torch.randn(8, 1, 9, 9))  # running averages
    network.eval()
    images = torch.randn(2, 1, 9, 9)
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other = CellNetwork(STRUCTURE, reduction_cell, num_classes=2, input_channel_size=1).eval()
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(images), network(images))
    exported = torch.export.export(network, (images,)).module()
    assert torch.allclose(exported(images), network(images), atol=1e-6)
    assert_faithful(network, images)


def test_constructors_and_cells_that_do_not_fit(raises_saying):
    with raises_saying(asked="cell of node 0", found="returned a NoneType", do="torch module"):
        CellNetwork(STRUCTURE, lambda **_: None, num_classes=2, input_channel_size=1)
    network = CellNetwork(STRUCTURE, lambda **_: nn.Identity(), num_classes=2, input_channel_size=3)
    with raises_saying(asked="run the cell of node 0", found="[2, 3, 4, 4]", do="cell_channels"):
        network(torch.randn(2, 3, 4, 4))


def test_cells_of_several_channels():
    def construct(**where):
        channels = where["input_channel_size"] if where["is_input"] else 2 * where["in_degree"]
        return nn.Conv2d(channels, 2, 3, padding=1)

    network = CellNetwork(
        STRUCTURE, construct, num_classes=4, input_channel_size=3, cell_channels=2
    )
    assert network(torch.randn(2, 3, 5, 5)).shape == (2, 4)
