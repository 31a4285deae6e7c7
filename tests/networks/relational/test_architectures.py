"""Published FLOPs and parameters of the dense baselines; counts are those of the modules."""

import pytest
import torch
from torch import nn

from nn_graphs.networks.relational.architectures import (
    ARCHITECTURES,
    Architecture,
    Stem,
    architecture_named,
    cifar_cnn,
    mlp,
)
from nn_graphs.networks.relational.network import RelationalNetwork
from tests.networks.relational.cases import small, small_graph


@pytest.mark.parametrize(
    ("architecture", "flops"),
    [
        (mlp(256), 985_600),
        (mlp(512), 2_364_416),
        (mlp(1024), 6_301_696),
        (cifar_cnn(64), 48_957_952),
        (cifar_cnn(16), 3_392_128),
        (ARCHITECTURES["cnn6"], 166_438_912),
        (ARCHITECTURES["resnet34"], 3_663_761_408),
        (ARCHITECTURES["resnet34_sep"], 553_614_592),
        (ARCHITECTURES["resnet50"], 4_089_184_256),
        (ARCHITECTURES["efficientnet_b0"], 385_824_092),
    ],
)
def test_published_flops_of_baselines(architecture, flops):
    assert architecture.baseline.num_flops(None) == flops


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("mlp", 2.369),
        ("cnn6", 1.440),
        ("resnet34", 21.798),
        ("resnet34_sep", 3.118),
        ("resnet50", 25.557),
        ("efficientnet_b0", 5.289),
    ],
)
def test_published_parameters_of_baselines(name, millions):
    assert round(ARCHITECTURES[name].baseline.num_params(None) / 1e6, 3) == millions


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_weights_make_the_baseline_but_for_efficientnet(name):
    architecture = ARCHITECTURES[name]
    flops = architecture.shape(architecture.baseline_widths).num_flops(None)
    baseline = architecture.baseline.num_flops(None)
    assert flops == (467_785_436 if name == "efficientnet_b0" else baseline)


def counted_flops(network: nn.Module, inputs: torch.Tensor) -> int:
    """Multiply-accumulates of a forward pass, by what really comes out of every layer."""
    flops = 0

    def count(layer: nn.Module, _, outputs: torch.Tensor) -> None:
        nonlocal flops
        mask = getattr(layer, "mask", torch.ones(1, 1, dtype=torch.bool))
        weights = (torch.ones_like(layer.weight) * mask).sum().item()
        positions = outputs[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        gate_bias = (
            layer.bias.numel() if isinstance(layer, nn.Conv2d) and layer.bias is not None else 0
        )
        flops += int(weights) * positions + gate_bias

    hooks = [
        module.register_forward_hook(count)
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    network.eval()(inputs)
    for hook in hooks:
        hook.remove()
    return flops


def counted_params(network: nn.Module) -> int:
    masked = sum(
        int((~module.mask).sum()) * module.weight[0, 0].numel()
        for module in network.modules()
        if hasattr(module, "mask")
    )
    return sum(parameter.numel() for parameter in network.parameters()) - masked


@pytest.mark.parametrize("has_graph", [True, False])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_counts_are_those_of_the_module(name, has_graph):
    architecture = small(name)
    network = RelationalNetwork(architecture, small_graph() if has_graph else None)
    side = architecture.in_side
    inputs = torch.zeros(1, architecture.in_channels, side, side)
    assert counted_flops(network, inputs) == network.num_flops
    assert counted_params(network) == network.num_params


def test_unknown_names(raises_saying):
    with raises_saying(asked="'resnet1'", found="none of that name", do="mlp, cnn6, resnet34"):
        architecture_named("resnet1")
    with raises_saying(asked="'dense' blocks", found="no block", do="linear, conv"):
        Architecture("dense", Stem(4), ())
    assert architecture_named("mlp") == mlp()


@pytest.mark.parametrize("widths", [(64,), (64, 128, 0)])
def test_wrong_widths(raises_saying, widths):
    with raises_saying(asked=str(list(widths)), found="3 stages", do="[64, 128, 256]"):
        ARCHITECTURES["cnn6"].shape(widths)
