"""Network -> graph -> network: the same outputs, structures and weights."""

import pytest
import torch
from torch import Tensor, nn

from nn_graphs.graphs.extraction import extract_graph, to_dag_network
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.pruning import Density, RandomSaliency, prune
from tests.networks.dag.structures import random_structure, small_world

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_networks_of_random_graphs_come_back(activation):
    for seed in range(20):
        structure = random_structure(seed)
        network = DAGNetwork(structure, in_features=3, out_features=2, activation=activation)
        network = network.double()
        inputs = torch.randn(5, 3, dtype=torch.float64)
        graph = extract_graph(network, inputs)
        again = to_dag_network(graph)
        torch.testing.assert_close(again(inputs), network(inputs), rtol=0, atol=1e-12)
        assert again.num_connections == network.num_connections
        second = to_dag_network(extract_graph(again, inputs))
        assert second.framed_structure.equals(again.framed_structure)
        torch.testing.assert_close(second(inputs), network(inputs), rtol=0, atol=1e-12)


def test_a_small_world_keeps_its_edges():
    structure = small_world(30)
    network = DAGNetwork(structure, in_features=4, out_features=3)
    again = to_dag_network(extract_graph(network, torch.zeros(1, 4)))
    assert again.num_connections == network.num_connections
    assert again.layers[0].weight.dtype == torch.float32


class Images(nn.Module):
    """A strided convolution with padding, and linear maps; with a skip on demand."""

    def __init__(self, *, has_skip: bool = False):
        super().__init__()
        self.has_skip = has_skip
        self.conv = nn.Conv2d(2, 3, 3, stride=2, padding=1)
        self.hidden, self.out = nn.Linear(12, 12), nn.Linear(12, 2)

    def forward(self, images: Tensor) -> Tensor:
        values = torch.relu(self.conv(images)).flatten(1)
        hidden = self.hidden(values)
        return self.out(torch.relu(hidden + values if self.has_skip else hidden))


def test_convolutions_become_units():
    module, images = Images().double(), torch.randn(4, 2, 4, 4, dtype=torch.float64)
    graph = extract_graph(module, images)
    network = to_dag_network(graph)
    torch.testing.assert_close(network(images), module(images), rtol=0, atol=1e-12)
    assert network.num_connections == 12 * 12 + 12 * 2 + _conv_edges()


def _conv_edges() -> int:
    """Places of the kernel that are inside of the image, of 3 x 2 channels."""
    inside = torch.nn.functional.conv2d(
        torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3), stride=2, padding=1
    )
    return int(inside.sum()) * 6


def test_skips_around_a_map_become_edges():
    module, images = Images(has_skip=True).double(), torch.randn(4, 2, 4, 4, dtype=torch.float64)
    network = to_dag_network(extract_graph(module, images))
    torch.testing.assert_close(network(images), module(images), rtol=0, atol=1e-12)


def test_what_pruning_has_left_becomes_a_network():
    module = nn.Sequential(nn.Linear(5, 9), nn.Tanh(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 2))
    prune(module, Density(0.3), saliency=RandomSaliency(0))
    inputs = torch.randn(6, 5)
    network = to_dag_network(extract_graph(module, inputs))
    assert network.num_connections == round(0.3 * (45 + 63 + 14))
    torch.testing.assert_close(network(inputs), module(inputs))


@pytest.mark.parametrize(
    ("layers", "shape", "level", "found"),
    [
        ([nn.Linear(3, 2)], (3,), "neuron", "the level 'neuron'"),
        ([nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)], (3,), "unit",
         "hidden layers are relu, tanh"),
        ([nn.Linear(3, 2), nn.ReLU()], (3,), "unit", "last layer has an activation"),
        ([nn.Conv2d(1, 2, 1), nn.MaxPool2d(2)], (1, 4, 4), "unit", "input, sum, maximum"),
    ],
)  # fmt: skip
def test_graphs_that_are_no_plain_networks(raises_saying, layers, shape, level, found):
    graph = extract_graph(nn.Sequential(*layers), torch.zeros(1, *shape), level=level)
    with raises_saying(asked="network of an extracted graph", found=found, do="run_graph"):
        to_dag_network(graph)
