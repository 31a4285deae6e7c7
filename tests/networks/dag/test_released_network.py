"""The published variant: a nonlinearity for every skip, first and last layer alone."""

import copy

import pytest
import torch

from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.dag.released_network import ReleasedDAGNetwork
from nn_graphs.structure.framing import complete_layers
from nn_graphs.structure.layered_graph import LayeredGraph
from tests.graphs.tracing.faithful import assert_faithful
from tests.networks.dag.structures import random_structure, small_world

pytestmark = pytest.mark.usefixtures("one_thread")


def make(structure: LayeredGraph, **options) -> ReleasedDAGNetwork:
    generator = torch.Generator().manual_seed(0)
    options = {"in_features": 3, "out_features": 2, "generator": generator, **options}
    return ReleasedDAGNetwork(structure, **options).double()


@pytest.mark.parametrize("has_norm", [False, True])
def test_outputs_are_those_of_the_formula(has_norm):
    """0 and 1 lead to 2, these to 3, 0 skips to 3, and 0 and 2 skip to 4, the last."""
    edges = [0, 1, 2, 0, 3, 0, 2], [2, 2, 3, 3, 4, 4, 4]
    network = make(LayeredGraph.from_edges(*edges), has_norm=has_norm, activation="tanh")
    inputs = torch.randn(5, 3).double()
    act = torch.tanh
    norms = network.norms if has_norm else [lambda values: values] * 3
    first = act(network.first(inputs))
    from_first = act(network.skips[0](first))  # to node 3, then to node 4
    second = act(norms[0](network.steps[0](first)))
    from_second = act(network.skips[1](second))
    third = act(norms[1](network.steps[1](second))) + from_first[:, :1]
    fourth = act(norms[2](network.steps[2](third))) + from_first[:, 1:] + from_second
    assert torch.allclose(network(inputs), network.last(fourth), rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", range(0, 200, 50))
def test_graph_to_network_to_graph_is_the_identity(seed):
    for number in range(seed, seed + 50):
        structure = random_structure(number)
        assert make(structure).structure.equals(structure)


def test_without_skips_both_variants_are_one_network():
    structure = complete_layers([4, 5, 3])
    released = make(structure)
    network = DAGNetwork(structure, in_features=3, out_features=2).double()
    own = [released.first, *released.steps, released.last]
    for mine, theirs in zip(network.layers, own, strict=True):
        mine.load_state_dict(theirs.state_dict())
    inputs = torch.randn(5, 3).double()
    assert torch.allclose(network(inputs), released(inputs), rtol=0, atol=1e-12)


def test_networks_are_ordinary_modules():
    network = make(small_world(25))
    inputs = torch.randn(6, 3).double()
    other = make(small_world(25), generator=torch.Generator().manual_seed(1))
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(inputs), network(inputs))
    assert torch.equal(copy.deepcopy(network)(inputs), network(inputs))
    exported = torch.export.export(network, (inputs,)).module()
    assert torch.allclose(exported(inputs), network(inputs), rtol=0, atol=1e-12)


def test_inputs_of_another_width(raises_saying):
    with raises_saying(asked="3 inputs", found="[2, 2] has 4 values", do="of that size"):
        make(small_world(10))(torch.randn(5, 2, 2).double())


@pytest.mark.parametrize("seed", range(3))
def test_networks_trace(seed):
    assert_faithful(make(random_structure(seed), activation="tanh"), torch.randn(2, 3))
