"""Parameter spaces: what permutations move is an axis, the rest is channels, nothing is lost."""

import pytest
import torch
from torch_geometric.data import Batch

from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.graphs.builder import without_fixed_neurons
from tests.encoders.cases import inr, networks
from tests.encoders.equivariant.cases import ALL, skip_to_more, traced


def layout(template) -> list[tuple[tuple[int, ...], int]]:
    return [(space.axes, space.num_fixed) for space in ParameterSpaces(template).spaces]


def test_a_chain_has_one_space_per_bias_and_weight():
    biases = [((0,), 1), ((1,), 1), ((), 2)]
    weights = [((0,), 2), ((1, 0), 1), ((1,), 2)]
    assert layout(inr(2, 5, 4, 2)) == biases + weights


def test_without_fixed_neurons_all_axes_are_moved():
    template = without_fixed_neurons(inr(2, 5, 4, 3))
    biases = [((1,), 1), ((2,), 1), ((3,), 1)]
    assert layout(template) == [*biases, ((1, 0), 1), ((2, 1), 1), ((3, 2), 1)]


def test_one_neuron_is_not_moved():
    assert layout(without_fixed_neurons(inr(1, 3, 1))) == [
        ((1,), 1),
        ((), 1),
        ((1,), 1),
        ((1,), 1),
    ]


def test_weights_that_partial_skips_cut_are_several_spaces():
    """Four of the six neurons of the second layer move with those of the first."""
    biases = [((0,), 1), ((0,), 1), ((1,), 1), ((), 2)]
    second_weight = [((0, 0), 1), ((1, 0), 1)]
    last_weight = [((0,), 2), ((1,), 2)]
    assert layout(skip_to_more()) == [*biases, ((0,), 1), *second_weight, *last_weight]


def test_tied_inputs_and_hidden_neurons_are_permuted_together():
    """The hidden neurons that an input is added to stay only as long as the inputs do."""
    template = traced("skip from the input")
    assert layout(template)[1:3] == [((0,), 1), ((), 1)]
    axes = without_fixed_neurons(template).symmetries.axes
    assert axes[0][0].permutation == axes[1][0].permutation is not None


@pytest.mark.parametrize("name", ALL)
def test_there_and_back(name):
    template = ALL[name]()
    spaces, structure = ParameterSpaces(template), template.structure()
    torch.manual_seed(0)
    nodes = torch.randn(3, template.num_nodes, 4)
    edges = torch.randn(3, template.num_edges, 4)
    values = spaces.split(nodes, edges)
    for space, part in zip(spaces.spaces, values, strict=True):
        sizes = [template.symmetries.sizes[number] for number in space.axes]
        assert part.shape == (3, *sizes, space.num_fixed * 4)
    found_nodes, found_edges = spaces.join(values)
    has_bias, is_weight = structure.has_bias[:, None], (structure.edge_kind_id == 0)[:, None]
    assert torch.equal(found_nodes, torch.where(has_bias, nodes, 0.0))
    assert torch.equal(found_edges, torch.where(is_weight, edges, 0.0))


def test_graphs_of_another_kind_are_refused(raises_saying):
    template = inr(2, 5, 4, 2)
    spaces, stack = ParameterSpaces(template), template.stack(networks(template, 2))
    spaces.check(stack)
    other = inr(2, 3, 2)
    wrong = [other.stack(networks(other, 1)), stack[0], Batch.from_data_list(list(stack))]
    for graphs in wrong:
        with raises_saying(asked="13 nodes and 38 edges", found="this is a", do="stack method"):
            spaces.check(graphs)
