"""Networks of directed acyclic graphs: the paper's formula, their graph back, ordinary modules."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from nn_graphs.networks.dag.dag_network import DAGNetwork, masked_feed_forward
from nn_graphs.networks.dag.layer_reading import Reading, make_reading
from nn_graphs.structure.framing import complete_layers, frame
from nn_graphs.structure.layered_graph import LayeredGraph
from tests.graphs.tracing.faithful import assert_faithful
from tests.networks.dag.structures import (
    layers_of_pairs,
    outputs_of_pairs,
    random_structure,
    small_world,
)

pytestmark = pytest.mark.usefixtures("one_thread")


def make(structure: LayeredGraph, *features: int | None, **options) -> DAGNetwork:
    inside, outside = features or (3, 2)
    generator = torch.Generator().manual_seed(0)
    return DAGNetwork(
        structure, in_features=inside, out_features=outside, generator=generator, **options
    ).double()


THOUSAND = [pytest.param(first, 50, marks=pytest.mark.slow) for first in range(50, 1000, 50)]


@pytest.mark.parametrize(("first", "number"), [(0, 50), *THOUSAND])
def test_graph_to_network_to_graph_is_the_identity(first, number):
    for seed in range(first, first + number):
        structure = random_structure(seed)
        network = make(structure)
        assert network.structure.equals(structure)
        framed = network.framed_structure
        assert framed.equals(frame(structure, 3, 2))
        assert make(framed, None, None).framed_structure.equals(framed)  # a second round


@pytest.mark.parametrize("few_weights", [0, 2**16])
def test_outputs_are_those_of_the_formula_pair_by_pair(monkeypatch, few_weights):
    """Both ways of reading: windows of layers, and only the layers that lead to one."""
    monkeypatch.setattr("nn_graphs.networks.dag.layer_reading.FEW_WEIGHTS", few_weights)
    monkeypatch.setattr("nn_graphs.networks.dag.layer_reading.MAX_SURPLUS", 1.0)
    inputs = torch.randn(5, 3, dtype=torch.float64)
    are_windowed = set()
    for seed in range(60):
        structure = random_structure(seed)
        network = make(structure, activation="tanh")
        pairs = layers_of_pairs(structure, 3, 2, network)
        wanted = outputs_of_pairs(inputs, network, pairs, torch.tanh)
        assert torch.allclose(network(inputs), wanted, rtol=0, atol=1e-12)
        gradients = torch.autograd.grad(network(inputs).sum(), network.layers[0].weight)[0]
        theirs = torch.autograd.grad(wanted.sum(), network.layers[0].weight)[0]
        mask = network.layers[0].mask
        assert torch.allclose(gradients, theirs * mask, rtol=0, atol=1e-12)
        are_windowed.add(network.reading.is_windowed)
    assert are_windowed == ({True} if few_weights else {True, False})


def test_a_layer_is_one_product():
    structure = small_world(60)
    network = make(structure)
    assert len(network.layers) == structure.num_layers + 1
    assert len(list(network.parameters())) == 2 * len(network.layers)


def reading_of(graph: LayeredGraph) -> Reading:
    return make_reading(graph.layer_sizes, graph.num_connections)


def test_layers_are_read_as_few_as_they_are():
    """No skip: each layer reads the one before; one long skip: not all of those between."""
    chain = complete_layers([40] * 30)
    assert reading_of(chain).layers == tuple((number,) for number in range(29))
    assert reading_of(chain).kept == (0,) * 29
    ends = np.append(chain.sources, 0), np.append(chain.targets, 29 * 40)
    skipping = reading_of(LayeredGraph.from_edges(*ends, layers=chain.layers))
    assert not skipping.is_windowed
    assert skipping.layers[-1] == (0, 28)
    assert skipping.layers[5] == (5,)


def test_sources_and_sinks_of_any_layer_meet_inputs_and_outputs():
    """Node 1 hears nobody and lies in layer 1; node 2 is heard by nobody and lies in layer 1."""
    structure = LayeredGraph.from_edges([0, 1, 0], [3, 3, 2], layers=[0, 1, 1, 2])
    framed = make(structure, 1, 1).framed_structure
    edges = set(zip(framed.sources.tolist(), framed.targets.tolist(), strict=True))
    assert edges == {(1, 4), (2, 4), (1, 3), (0, 1), (0, 2), (4, 5), (3, 5)}


def test_every_neuron_matters():
    network = make(small_world(30), activation="tanh")
    network(torch.randn(8, 3).double()).square().sum().backward()
    for layer in network.layers:
        assert (layer.bias.grad != 0).all()
        assert (layer.weight.grad[layer.mask] != 0).all()
        assert (layer.weight.grad[~layer.mask] == 0).all()


def test_first_and_last_layer_as_inputs_and_outputs():
    structure = LayeredGraph.from_edges([0, 1, 2, 0], [2, 2, 3, 3])
    network = make(structure, None, None)
    inputs = torch.randn(4, 2).double()
    first, last = network.layers
    hidden = (inputs @ first.weight[:, :2].T + first.bias).relu()
    wanted = torch.cat([inputs, hidden], 1) @ last.weight.T + last.bias
    assert torch.allclose(network(inputs), wanted, rtol=0, atol=1e-12)
    assert network.structure.equals(structure)
    assert network.framed_structure.equals(structure)


def test_inputs_are_flattened_and_widths_checked(raises_saying):
    network = make(small_world(20), 12, 2)
    assert network(torch.randn(4, 1, 3, 4).double()).shape == (4, 2)
    with raises_saying(asked="12 inputs", found="[1, 3, 3] has 9 values", do="of that size"):
        network(torch.randn(4, 1, 3, 3).double())


def test_structures_that_make_no_network(raises_saying):
    single = LayeredGraph.from_edges([], [], 3)
    with raises_saying(asked="make a network", found="all of its nodes are inputs", do="edges"):
        DAGNetwork(single)
    with raises_saying(asked="between inputs", found="0 inputs and 2 outputs", do="at least"):
        DAGNetwork(single, in_features=0, out_features=2)
    with raises_saying(asked="complete layers", found="sizes are [3, 0]", do="one node"):
        masked_feed_forward(2, 2, [3, 0])
    with raises_saying(asked="complete layers", found="sizes are []", do="one layer"):
        masked_feed_forward(2, 2, [])
    with raises_saying(asked="activation 'sinus'", found="no 'sinus'", do="Choose"):
        DAGNetwork(single, in_features=1, out_features=2, activation="sinus")


@pytest.mark.parametrize(
    "mask", [torch.ones(2, 2).bool(), torch.ones(20, 3), torch.ones(20, 3, 1).bool()]
)
def test_masks_of_a_wrong_shape_or_type(raises_saying, mask):
    network = DAGNetwork(LayeredGraph.from_edges([], [], 20), in_features=3, out_features=2)
    with raises_saying(asked="mask weights of the shape [20, 3]", found="the mask is", do="bool"):
        network.layers[0].set_mask(mask)


def test_pruned_connections_leave_the_structure_and_nothing_else():
    """Also where a layer is left without any edge, which then has no other layers."""
    structure = small_world(30)
    network = make(structure)
    gone = 0
    for number, layer in enumerate(network.layers[1:-1], 1):
        mask = layer.mask & (torch.rand(layer.mask.shape) < (0 if number == 2 else 0.5))
        gone += int(layer.mask.sum() - mask.sum())
        layer.set_mask(mask)
    pruned = network.structure
    assert np.array_equal(pruned.layers, structure.layers)
    assert pruned.num_edges == structure.num_edges - gone
    kept = set(zip(structure.sources.tolist(), structure.targets.tolist(), strict=True))
    assert set(zip(pruned.sources.tolist(), pruned.targets.tolist(), strict=True)) <= kept


def test_reading_the_structure_changes_nothing():
    """The published transformation resets the masks of what it reads."""
    network = make(small_world(20))
    for layer in network.layers:
        layer.set_mask(layer.mask & (torch.rand(layer.mask.shape) < 0.3))
    before = copy.deepcopy(network.state_dict())
    structure = network.structure
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert network.structure.equals(structure)
    nothing = make(small_world(20))
    for layer in nothing.layers:
        layer.set_mask(torch.zeros_like(layer.mask))
    assert nothing.framed_structure.num_edges == 0


def test_feed_forward_networks_equal_plain_layers():
    network = masked_feed_forward(5, 3, [7, 6], activation="tanh", has_norm=True).double()
    first, second, last = network.layers
    plain = nn.Sequential(
        first, network.norms[0], nn.Tanh(), second, network.norms[1], nn.Tanh(), last
    )
    inputs = torch.randn(4, 5).double()
    assert torch.equal(network(inputs), plain(inputs))
    assert network.num_connections == 5 * 7 + 7 * 6 + 6 * 3
    assert network.structure.equals(complete_layers([7, 6]))


def test_norms_are_before_activations_of_all_hidden_layers():
    network = make(small_world(20), has_norm=True)
    assert len(network.norms) == len(network.layers) - 1
    assert network(torch.randn(3, 3).double()).isfinite().all()


def test_initial_values_count_the_inputs_that_exist():
    structure = LayeredGraph.from_edges([*range(100)], [100] * 100, 102, layers=[0] * 100 + [1, 1])
    layer = DAGNetwork(structure).layers[0]
    assert 0.2 < layer.weight[0].abs().max() <= 0.06**0.5
    assert layer.weight[1].abs().max() == 0  # no inputs
    assert layer.bias[1].abs() <= 1


def test_initial_values_come_from_the_generator_alone():
    state = torch.random.get_rng_state()
    one, two = make(small_world(20)), make(small_world(20))
    assert all(map(torch.equal, one.parameters(), two.parameters()))
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("has_norm", [False, True])
def test_networks_are_ordinary_modules(tmp_path, has_norm):
    network = make(small_world(25), has_norm=has_norm)
    inputs = torch.randn(6, 3).double()
    network.layers[1].set_mask(network.layers[1].mask & (torch.rand(1).double() > 2))
    torch.save(network.state_dict(), tmp_path / "state.pt")
    other = make(small_world(25), has_norm=has_norm)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(other(inputs), network(inputs))
    assert other.structure.equals(network.structure)
    assert torch.equal(copy.deepcopy(network)(inputs), network(inputs))
    single = copy.deepcopy(network).float()
    assert single(inputs.float()).dtype == torch.float32
    exported = torch.export.export(network, (inputs,)).module()
    assert torch.allclose(exported(inputs), network(inputs), rtol=0, atol=1e-12)


def test_training_keeps_missing_weights_missing():
    network = make(small_world(30), activation="tanh").float()
    structure = network.structure
    inputs = torch.randn(64, 3, generator=torch.Generator().manual_seed(0))
    labels = (inputs[:, 0] * inputs[:, 1] > 0).long()
    optimizer = torch.optim.AdamW(network.parameters(), 0.01, weight_decay=0.1)
    losses = []
    for _ in range(60):
        loss = nn.functional.cross_entropy(network(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1
    assert all((layer.weight[~layer.mask] == 0).all() for layer in network.layers)
    assert network.structure.equals(structure)


def test_a_published_size_takes_a_step():
    """A Watts-Strogatz graph of 200 nodes on inputs of the shape (105, 13)."""
    network = DAGNetwork(small_world(200, degree=3, rewiring=0.8), in_features=13, out_features=2)
    network(torch.randn(105, 13)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("seed", range(6))
def test_networks_trace_and_symmetries_respect_masks(seed):
    network = make(random_structure(seed), has_norm=seed == 5, activation="tanh")
    template = assert_faithful(network, torch.randn(2, 3))
    masks = {slot.name: mask for slot, mask in template.masks.items()}
    for name, module in network.layers.named_children():
        assert torch.equal(masks[f"layers.{name}.weight"], module.mask)


def test_unmasked_networks_keep_all_symmetries():
    network = masked_feed_forward(3, 2, [5, 4], activation="tanh")
    template = assert_faithful(network, torch.randn(2, 3))
    assert template.symmetries.sizes == (5, 4)
