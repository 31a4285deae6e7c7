"""NetworkSpec: data that is hashable, goes through JSON, and builds the module it describes."""

import pytest
import torch

from nn_graphs.networks.activations import Activation, ActivationModule
from nn_graphs.networks.parameters import ParameterLayout
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec

RELU, SINE = Activation("relu"), Activation("sine", 30.0)
SPEC = NetworkSpec(
    3,
    (
        LayerSpec(4, RELU),
        LayerSpec(4, SINE, has_bias=False, skips=(0, 1)),
        LayerSpec(2, Activation("leaky_relu", 0.2), skips=(1,), offset=0.5),
    ),
)


def test_mlp_is_a_chain_without_activation_at_the_end():
    spec = NetworkSpec.mlp((2, 32, 16, 1), activation=SINE, offset=0.5)
    assert spec.layer_layout == (2, 32, 16, 1)
    assert spec.layers == (LayerSpec(32, SINE), LayerSpec(16, SINE), LayerSpec(1, offset=0.5))
    assert spec.num_params == 2 * 32 + 32 + 32 * 16 + 16 + 16 + 1


def test_json_round_trip():
    again = NetworkSpec.from_json(SPEC.to_json())
    assert again == SPEC
    assert hash(again) == hash(SPEC)
    assert again.to_json() == SPEC.to_json()


def test_json_without_convolutions_is_as_it_was():
    text = (
        '{"in_width": 2, "layers": [{"width": 1, "activation": {"name": "sine", "parameter": 30.0},'
        ' "has_bias": true, "skips": [], "offset": 0.5}]}'
    )
    spec = NetworkSpec(2, (LayerSpec(1, SINE, offset=0.5),))
    assert spec.to_json() == text
    assert NetworkSpec.from_json(text) == spec


def test_specs_are_keys():
    others = [
        NetworkSpec(3, SPEC.layers[:2]),
        NetworkSpec(3, (*SPEC.layers[:2], LayerSpec(2, RELU))),
        NetworkSpec.from_json(SPEC.to_json()),
    ]
    assert len({SPEC, *others}) == 3
    assert SPEC.parameters is SPEC.parameters  # kept, and no part of the key
    assert {SPEC: "found"}[others[2]] == "found"


def test_layout_is_that_of_the_module():
    assert SPEC.parameters == ParameterLayout.from_module(SPEC.make_module())
    assert [slot.name for slot in SPEC.parameters.slots] == [
        "layers.0.weight",
        "layers.0.bias",
        "layers.1.weight",
        "layers.2.weight",
        "layers.2.bias",
    ]


def test_module_computes_the_formula():
    module, inputs = SPEC.make_module().double(), torch.randn(7, 3, dtype=torch.float64)
    first, second, third = module.layers
    h_1 = torch.relu(inputs @ first.weight.T + first.bias)
    padded = torch.cat([inputs, torch.zeros(7, 1)], dim=1)
    h_2 = torch.sin(30 * (h_1 @ second.weight.T + padded + h_1))
    total = h_2 @ third.weight.T + third.bias + h_1[:, :2]
    expected = torch.nn.functional.leaky_relu(total, 0.2) + 0.5
    torch.testing.assert_close(module(inputs), expected, rtol=1e-12, atol=1e-12)


def test_module_takes_any_batch():
    module, inputs = SPEC.make_module(), torch.randn(2, 5, 3)
    assert module(inputs).shape == (2, 5, 2)
    torch.testing.assert_close(module(inputs)[1, 4], module(inputs[1, 4]))


@pytest.mark.parametrize("skip", [2, 3, -1])
def test_skip_that_does_not_come_from_before(raises_saying, skip):
    layers = (LayerSpec(4), LayerSpec(4, skips=(0, skip)), LayerSpec(4))
    asked = f"layer 2 has a skip from layer {skip}"
    with raises_saying(asked=asked, found="layers 0 to 1", do="Number layers from 1"):
        NetworkSpec(3, layers)


CNN = NetworkSpec(
    3,
    (
        LayerSpec(4, RELU, conv=ConvSpec((3, 5), (2, 1), (1, 0))),
        LayerSpec(6, RELU, has_bias=False, conv=ConvSpec.square(1), skips=(1,)),
        LayerSpec(5, RELU, num_places=8),
        LayerSpec(2, skips=(3,)),
    ),
)


def test_json_round_trip_of_convolutions():
    again = NetworkSpec.from_json(CNN.to_json())
    assert again == CNN
    assert hash(again) == hash(CNN)


def test_layout_of_convolutions_is_that_of_the_module():
    assert CNN.parameters == ParameterLayout.from_module(CNN.make_module())
    assert [slot.shape for slot in CNN.parameters.slots] == [
        (4, 3, 3, 5),
        (4,),
        (6, 4, 1, 1),
        (5, 48),
        (5,),
        (2, 5),
        (2,),
    ]


def test_convolutional_module_computes_the_formula():
    module, images = CNN.make_module().double(), torch.randn(7, 3, 4, 8, dtype=torch.float64)
    first, second, third, fourth = module.layers
    h_1 = torch.nn.functional.conv2d(
        images, first.weight, first.bias, stride=(2, 1), padding=(1, 0)
    ).relu()
    mixed = torch.einsum("oi,bihw->bohw", second.weight[..., 0, 0], h_1)
    h_2 = (mixed + torch.cat([h_1, torch.zeros_like(h_1[:, :2])], dim=1)).relu()
    h_3 = (h_2.reshape(7, 48) @ third.weight.T + third.bias).relu()
    expected = h_3 @ fourth.weight.T + fourth.bias + h_3[:, :2]
    torch.testing.assert_close(module(images), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("layers", "found"),
    [
        ((LayerSpec(4), LayerSpec(4, conv=ConvSpec((3,)))), "kernels over 1 axes and reads 0"),
        ((LayerSpec(4, num_places=2),), "num_places 2"),
        ((LayerSpec(4, conv=ConvSpec((3,)), num_places=2),), "num_places 2"),
        ((LayerSpec(4, conv=ConvSpec((3,))), LayerSpec(4, skips=(1,))), "a skip from a conv"),
    ],
)
def test_layers_that_do_not_fit_each_other(raises_saying, layers, found):
    with raises_saying(asked="2 layers" if len(layers) == 2 else "1 layers", found=found, do="Put"):
        NetworkSpec(4, layers)


def test_faulty_convolutions(raises_saying):
    with raises_saying(asked="kernels [3, 3]", found="stride is [2]", do="one number for each"):
        ConvSpec((3, 3), (2,))
    conv = ConvSpec.square(3)
    with raises_saying(asked="2 conv", found="1 kernels, 2 activations", do="one each"):
        NetworkSpec.cnn((3, 4, 4), convs=[conv], activations=[RELU, RELU], num_outputs=1)


def test_names_of_activations_are_activations():
    by_name = NetworkSpec(2, [LayerSpec(4, "relu", skips=[0]), LayerSpec(1, activation="tanh")])
    by_hand = NetworkSpec(2, (LayerSpec(4, RELU, skips=(0,)), LayerSpec(1, Activation("tanh"))))
    assert by_name == by_hand
    assert hash(by_name) == hash(by_hand)
    assert NetworkSpec.from_json(by_name.to_json()) == by_hand
    assert NetworkSpec.mlp([2, 4, 1], activation="relu").layers[0] == LayerSpec(4, RELU)
    convs = ConvSpec([3, 3])
    for activations in ("relu", ["relu", Activation("relu")]):
        spec = NetworkSpec.cnn((1, 4, 4), convs=convs, activations=activations, num_outputs=10)
        assert [layer.activation for layer in spec.layers] == [RELU, RELU, Activation()]


@pytest.mark.parametrize(
    "make",
    [
        lambda: LayerSpec(8, "rleu"),
        lambda: NetworkSpec.mlp((2, 8, 1), activation="rleu"),
        lambda: ActivationModule("rleu"),
    ],
)
def test_a_name_that_no_activation_has(raises_saying, make):
    with raises_saying(asked="'rleu'", found="no 'rleu'", do="none, relu, gelu"):
        make()


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        (NetworkSpec.mlp((2, 8, 8, 1), activation="relu"), "NetworkSpec(2-8-8-1, relu)"),
        (NetworkSpec.mlp((2, 8, 1), activation=SINE), "NetworkSpec(2-8-1, sine(30))"),
        (NetworkSpec(2, (LayerSpec(1),)), "NetworkSpec(2-1)"),
        (
            NetworkSpec(2, (LayerSpec(4, "relu", skips=(0,)), LayerSpec(1, offset=0.5))),
            "NetworkSpec(2, (LayerSpec(4, relu, skips=(0,)), LayerSpec(1, offset=0.5)))",
        ),
        (
            NetworkSpec(2, (LayerSpec(4, "relu"), LayerSpec(3, "tanh"), LayerSpec(1))),
            "NetworkSpec(2, (LayerSpec(4, relu), LayerSpec(3, tanh), LayerSpec(1)))",
        ),
    ],
)
def test_what_specs_look_like(spec, shown):
    assert repr(spec) == shown
