"""Modules of relational networks: shapes, what is masked, initial values, no global randomness."""

import math

import networkx as nx
import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.masked import MaskedConv2d, MaskedLayer, MaskedLinear
from nn_graphs.networks.relational.architectures import ARCHITECTURES, mlp
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.networks.relational.network import RelationalNetwork
from tests.networks.relational.cases import small, small_graph

pytestmark = pytest.mark.usefixtures("one_thread")


def make_network(name: str, *, has_graph: bool = True, seed: int = 0) -> RelationalNetwork:
    generator = torch.Generator().manual_seed(seed)
    return RelationalNetwork(small(name), small_graph() if has_graph else None, generator=generator)


def make_inputs(network: RelationalNetwork, batch_size: int = 3) -> torch.Tensor:
    architecture = network.architecture
    side = architecture.in_side
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch_size, architecture.in_channels, side, side, generator=generator)


@pytest.mark.parametrize("has_graph", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_outputs_and_gradients(name, has_graph):
    network = make_network(name, has_graph=has_graph)
    outputs = network(make_inputs(network))
    assert outputs.shape == (3, network.architecture.num_classes)
    outputs.square().sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_masked_weights_are_zero_before_and_after_a_step(name):
    network = make_network(name)
    masked = [layer for layer in network.modules() if isinstance(layer, MaskedLayer)]
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
    )
    for _ in range(2):
        for layer in masked:
            assert layer.density < 1
            assert not (layer.weight * ~layer.mask).any()
        optimizer.zero_grad()
        network(make_inputs(network)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("name", "masked", "dense"),
    [
        ("mlp", {"linear": 3}, {"linear": 2}),
        ("cnn6", {"3x3": 6}, {"3x3": 1, "linear": 1}),
        # 16 blocks; the shortcut of the first stage is there once its width is not the stem's
        ("resnet34", {"3x3": 32, "1x1": 4}, {"7x7": 1, "linear": 1}),
        ("resnet34_sep", {"1x1": 32 + 4}, {"7x7": 1, "depthwise": 32, "linear": 1}),
        ("resnet50", {"1x1": 32, "3x3": 16}, {"7x7": 1, "1x1": 4, "linear": 1}),
        (
            "efficientnet_b0",
            {"1x1": 15 + 16},
            {"3x3": 1, "depthwise": 16, "1x1": 2 * 16 + 1, "linear": 1},
        ),
    ],
)
def test_which_layers_are_masked(name, masked, dense):
    architecture = ARCHITECTURES[name]
    widths = [width + 1 for width in architecture.baseline_widths]
    shape = architecture.shape(widths)
    found = {True: {}, False: {}}
    for layer in shape.layers:
        if not hasattr(layer, "is_masked"):  # a gate, of two 1x1 convolutions
            found[False]["1x1"] = found[False].get("1x1", 0) + 2
            continue
        kind = f"{layer.kernel_size}x{layer.kernel_size}" if layer.is_conv else "linear"
        kind = "depthwise" if layer.is_depthwise else kind
        counts = found[layer.is_masked]
        counts[kind] = counts.get(kind, 0) + 1
    assert found == {True: masked, False: dense}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_modules_have_the_layers_of_the_shape(name):
    network = make_network(name)
    masked = sum(getattr(layer, "is_masked", False) for layer in network.shape.layers)
    modules = list(network.modules())
    assert sum(isinstance(module, MaskedLayer) for module in modules) == masked
    norms = sum(isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) for module in modules)
    assert norms == sum(getattr(layer, "has_norm", False) for layer in network.shape.layers)


def test_initial_values_of_convolutions_take_the_density_into_account():
    network = RelationalNetwork(
        ARCHITECTURES["cnn6"],
        small_graph(),
        widths=(64, 96, 128),
        generator=torch.Generator().manual_seed(0),
    )
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            is_masked = isinstance(layer, MaskedConv2d)
            density = layer.density if is_masked else 1
            wanted = math.sqrt(2 / (9 * layer.out_channels * density))
            values = layer.weight[layer.mask.expand_as(layer.weight)] if is_masked else layer.weight
            assert values.std().item() == pytest.approx(wanted, rel=0.05)


def test_initial_values_of_linear_layers_do_not():
    network = make_network("mlp")
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            is_masked = isinstance(layer, MaskedLinear)
            values = layer.weight[layer.mask] if is_masked else layer.weight
            assert values.std().item() == pytest.approx(0.01, rel=0.1)
            assert layer.bias is None or not layer.bias.any()


@pytest.mark.parametrize(
    ("name", "is_zero"),
    [("resnet34", True), ("resnet50", True), ("resnet34_sep", True), ("cnn6", False)],
)
def test_residual_blocks_that_start_as_their_skip(name, is_zero):
    network = make_network(name)
    last = [block.body[-1].norm.weight for block in network.blocks]
    assert all(bool((weight == 0).all()) == is_zero for weight in last)
    assert (network.stem.norm.weight == 1).all()


def test_a_generator_decides_and_the_global_state_is_not_touched():
    before = torch.get_rng_state()
    first, again, other = (make_network("efficientnet_b0", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(before, torch.get_rng_state())
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    weights = (network.blocks[0].body[0].layer.weight for network in (first, other))
    assert not torch.equal(*weights)


def test_state_dict_carries_the_masks():
    source = make_network("resnet34_sep", seed=0)
    target = make_network("resnet34_sep", seed=1)
    for layer in target.modules():
        if isinstance(layer, MaskedLayer):
            layer.set_mask(torch.ones_like(layer.mask))
    target.load_state_dict(source.state_dict())
    inputs = make_inputs(source)
    assert torch.equal(source.eval()(inputs), target.eval()(inputs))


def test_widths_of_ones_own():
    network = RelationalNetwork(small("mlp"), small_graph(), widths=(40,))
    assert network.widths == (40,)
    assert network.blocks[-1].body[0].layer.weight.shape == (40, 40)
    assert RelationalNetwork(small("mlp"), None).widths == (24,)


def test_graphs_of_networkx_are_taken():
    ring, architecture = nx.cycle_graph(8), mlp(in_side=4, in_channels=1)
    given = RelationalNetwork(architecture, ring, generator=torch.Generator().manual_seed(0))
    made = RelationalNetwork(
        architecture, RelationalGraph(ring), generator=torch.Generator().manual_seed(0)
    )
    for own, other in zip(given.parameters(), made.parameters(), strict=True):
        assert torch.equal(own, other)
    with pytest.raises(NNGraphsError, match="not square"):
        RelationalNetwork(architecture, [[0, 1]])
