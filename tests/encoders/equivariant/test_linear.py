"""Equivariant linear maps: there are all of them, none twice, and nothing else."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nn_graphs.encoders.equivariant.linear import EquivariantLinear, InvariantPooling
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.graphs.builder import without_fixed_neurons
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.symmetry import apply_to_graphs
from tests.encoders.cases import inr
from tests.encoders.equivariant.cases import (
    ALL,
    both,
    moves,
    num_equivariant_maps,
    permutations,
    residual,
    traced,
)

EXACT = {"rtol": 0, "atol": 1e-12}
FEW_NEURONS = both(
    {
        "two": lambda: residual(2),
        "three": lambda: residual(3),
        "three of five": lambda: traced("skip to more"),
    }
)
SMALL = [name for name in ALL if not name.startswith(("skipping", "tied", "skip from the input"))]


def make_layer(template: GraphTemplate, *, dims: tuple[int, int] = (1, 1)) -> EquivariantLinear:
    torch.manual_seed(0)
    spaces = ParameterSpaces(template).spaces
    return EquivariantLinear(spaces, in_dim=dims[0], out_dim=dims[1]).double()


def random_stack(template: GraphTemplate, count: int, *, dim: int) -> NeuralGraphStack:
    """Values on all neurons and edges."""
    torch.manual_seed(1)
    nodes = torch.randn(count, template.num_nodes, dim, dtype=torch.float64)
    edges = torch.randn(count, template.num_edges, dim, dtype=torch.float64)
    return NeuralGraphStack(template, nodes, edges)


def through(layer: Callable, graphs: NeuralGraphStack) -> NeuralGraphStack:
    """A layer on the values of a stack."""
    spaces = ParameterSpaces(graphs.template)
    values = layer(spaces.split(graphs.node_features, graphs.edge_features))
    return graphs.with_features(*spaces.join(values))


@torch.no_grad()
def maps_of(layer: EquivariantLinear, template: GraphTemplate) -> Tensor:
    """For every entry of a layer's matrices, the map of all values that it stands for."""
    size = template.num_nodes + template.num_edges
    one_hot = torch.eye(size, dtype=torch.float64).unsqueeze(-1)
    graphs = NeuralGraphStack(
        template, *one_hot.split([template.num_nodes, template.num_edges], dim=1)
    )
    for parameter in layer.parameters():
        parameter.zero_()
    maps = []
    for linear in layer.maps.values():
        for entry in linear.weight.view(-1):
            entry.fill_(1)
            found = through(layer, graphs)
            maps.append(torch.cat([found.node_features, found.edge_features], dim=1).flatten())
            entry.zero_()
    return torch.stack(maps)


@pytest.mark.parametrize("name", SMALL)
def test_the_maps_are_a_basis_of_all_equivariant_maps(name):
    template = ALL[name]()
    layer = make_layer(template)
    maps = maps_of(layer, template)
    assert layer.num_maps == len(maps) == num_equivariant_maps(template)
    assert torch.linalg.matrix_rank(maps) == len(maps)


@pytest.mark.parametrize("are_ends_fixed", [True, False])
def test_their_number_is_the_dimension_of_a_null_space(are_ends_fixed):
    template = inr(2, 3, 2, 1) if are_ends_fixed else without_fixed_neurons(inr(2, 3, 2, 1))
    elements = moves(template)
    eye = torch.eye(elements.shape[1], dtype=torch.float64)
    acting = [torch.kron(eye[element], eye[element]) for element in elements]
    constraints = sum(2 * torch.eye(len(eye) ** 2) - action - action.T for action in acting)
    null_space = (torch.linalg.eigvalsh(constraints).abs() < 1e-9).sum()
    assert make_layer(template).num_maps == null_space


def test_known_numbers_of_maps():
    """Of a chain, those between averages over all axes, the two single ones, and whole tensors."""
    assert make_layer(inr(2, 32, 32, 1)).num_maps == 7 * 7 + 4 * 4 + 3 * 3 + 1
    hidden = next(space for space in ParameterSpaces(residual(8)).spaces if len(space.axes) == 2)
    square = EquivariantLinear([hidden], in_dim=1, out_dim=1)
    assert square.num_maps == 15  # the partitions of four axes


@pytest.mark.parametrize("name", FEW_NEURONS)
def test_a_square_weight_of_fewer_than_four_neurons_has_all_maps_and_some_twice(name):
    template = FEW_NEURONS[name]()
    layer = make_layer(template)
    number = num_equivariant_maps(template)
    assert torch.linalg.matrix_rank(maps_of(layer, template)) == number < layer.num_maps


@pytest.mark.parametrize("name", ALL)
def test_layers_commute_with_permutations(name):
    template = ALL[name]()
    layer = make_layer(template, dims=(3, 2))
    graphs, element = random_stack(template, 5, dim=3), permutations(template, 5)
    found = through(layer, apply_to_graphs(template, graphs, element))
    expected = apply_to_graphs(template, through(layer, graphs), element)
    assert_close(found.node_features, expected.node_features, **EXACT)
    assert_close(found.edge_features, expected.edge_features, **EXACT)


@pytest.mark.parametrize("name", ALL)
def test_pooling_is_invariant_and_takes_nothing_twice(name):
    template = ALL[name]()
    spaces = ParameterSpaces(template)
    pooling = InvariantPooling(spaces.spaces, dim=3)
    graphs = random_stack(template, 4, dim=3)
    moved = apply_to_graphs(template, graphs, permutations(template, 4))
    pooled, after = (
        pooling(spaces.split(stack.node_features, stack.edge_features)) for stack in (graphs, moved)
    )
    assert_close(after, pooled, **EXACT)
    assert pooled.shape == (4, pooling.out_dim)
    assert pooled.unique().numel() == pooled.numel()


def test_a_hidden_weight_of_a_chain_by_the_formula_of_the_paper():
    """The NP layer of Zhou et al., with one channel."""
    layer = make_layer(without_fixed_neurons(inr(2, 5, 4, 3)))
    assert [space.axes for space in layer.spaces] == [(1,), (2,), (3,), (1, 0), (2, 1), (3, 2)]
    sizes = (2, 5, 4, 3)
    values = [torch.randn(6, *[sizes[p] for p in space.axes], 1).double() for space in layer.spaces]
    b1, b2, b3, w1, w2, w3 = values
    maps = {name: linear.weight for name, linear in layer.maps.items()}
    everywhere = torch.cat([v.mean(tuple(range(1, v.dim() - 1))) for v in values], dim=-1)
    by_target = torch.cat([b2, w2.mean(2), w3.mean(1)], dim=-1)
    by_source = torch.cat([b1, w1.mean(2), w2.mean(1)], dim=-1)
    expected = (
        (everywhere @ maps["axes"][4] + layer.maps["axes"].bias[4])[:, None, None]
        + (by_target @ maps["axes_2"][1])[:, :, None]
        + (by_source @ maps["axes_1"][2])[:, None, :]
        + (w2 @ maps["axes_2_1"][0])
    )
    assert_close(layer(values)[4].squeeze(-1), expected, **EXACT)
    assert len(everywhere[0]) == 6
    assert b3.shape == (6, 3, 1)


def test_first_values_take_all_terms_into_account():
    """Every output is bounded by the inverse root of the number of channels that reach it."""
    layer = make_layer(inr(2, 5, 4, 2), dims=(7, 50))
    keys = {axes: linear.in_features for axes, linear in layer.maps.items()}
    hidden_weight = layer.maps["axes_1_0"].weight
    fan_in = keys["axes"] + keys["axes_0"] + keys["axes_1"] + keys["axes_1_0"]
    assert 0.95 * fan_in**-0.5 < hidden_weight.abs().max() <= fan_in**-0.5
    last_bias = layer.maps["axes"].weight.split(layer.out_sizes[()])[2]
    assert last_bias.shape == (2 * 50, keys["axes"])
    assert 0.95 * keys["axes"] ** -0.5 < last_bias.abs().max() <= keys["axes"] ** -0.5


def test_outputs_can_be_changed_in_place():
    """Relu is applied so."""
    template = residual(4)
    layer, graphs = make_layer(template, dims=(2, 3)), random_stack(template, 2, dim=2)
    spaces = ParameterSpaces(template)
    outputs = layer(spaces.split(graphs.node_features, graphs.edge_features))
    copies = [output.detach().clone() for output in outputs]
    sum(output.relu_().sum() for output in outputs).backward()
    for output, copy in zip(outputs, copies, strict=True):
        assert_close(output, copy.relu())
    assert all(parameter.grad is not None for parameter in layer.parameters())
