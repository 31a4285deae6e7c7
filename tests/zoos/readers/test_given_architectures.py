"""Architectures given in three ways, and state dicts found to be of them."""

import dataclasses
import json

import pytest
import torch
from torch import nn

from nn_graphs.graphs.architecture_specs import TracedSpec
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.zoos.readers.given_architectures import (
    INRArchitecture,
    StateFlattener,
    describe,
    infer_chain,
)
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from tests.zoos.readers import user_networks
from tests.zoos.readers.user_networks import Chain

HERE = "tests.zoos.readers.user_networks"
SPEC = NetworkSpec.mlp((2, 3, 3, 1), activation=Activation("tanh"))


def shapes_of(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def never() -> dict:
    raise AssertionError("no file needs to be asked")


@pytest.mark.parametrize("bias", [True, False])
def test_layer_layout_from_shapes(bias):
    module = nn.Sequential(nn.Linear(2, 7, bias), nn.Tanh(), nn.Linear(7, 3, bias))
    flatten = StateFlattener.of(INRArchitecture("dws"), lambda: shapes_of(module))
    assert flatten.spec.layer_layout == (2, 7, 3)
    assert [layer.has_bias for layer in flatten.spec.layers] == [bias, bias]
    assert flatten.spec.layers[-1].offset == 0.5
    assert flatten.spec.layers[0].activation == Activation("sine", 30.0)


def test_layer_layout_that_is_given():
    flatten = StateFlattener.of(INRArchitecture("nfn", [2, 4, 3]), never)
    assert flatten.spec == inr_preset("nfn").make_spec((2, 4, 3))
    assert StateFlattener.of(SPEC, never).spec == SPEC


@pytest.mark.parametrize(
    ("shapes", "found"),
    [
        ({}, "no weight matrices"),
        ({"a.weight": (4, 2), "b.weight": (1, 5)}, "a.weight puts out 4 values, and b.weight"),
        ({"a.weight": (4, 2), "a.bias": (3,)}, "widths [4] have biases of the shapes [[3]]"),
        ({"a.weight": (4, 2), "a.bias": (4,), "n.weight": (4,)}, "[[4], [4]]"),
        ({"c.weight": (4, 1, 3, 3)}, "c.weight [4, 1, 3, 3] belongs to a convolution"),
        ({"a.weight": (4, 2), "scale": ()}, "scale [] belongs to no linear layer"),
    ],
)
def test_no_chain(raises_saying, shapes, found):
    with raises_saying(asked="infer the layer layout", found=found, do="NetworkSpec"):
        infer_chain(shapes)


def test_unknown_preset(raises_saying):
    with raises_saying(asked="'wire'", found="no 'wire'", do="dws"):
        INRArchitecture("wire")


@pytest.mark.parametrize("prefix", ["layers.{}.{}", "seq.{}.{}", "net.{}.linear.{}", "{1}s.{0}"])
@pytest.mark.parametrize("biases_first", [True, False])
def test_state_dicts_are_found_in_order(prefix, biases_first):
    params = torch.randn(SPEC.num_params)
    tensors = SPEC.parameters.unflatten(params)
    names = {
        f"layers.{i}.{role}": prefix.format(i, role)
        for i in range(3)
        for role in ("weight", "bias")
    }
    order = sorted(names, key=lambda name: name.endswith("weight")) if biases_first else names
    state = {names[name]: tensors[name] for name in order}
    assert torch.equal(StateFlattener(SPEC)(state), params)


def test_own_names_count_more_than_order():
    params = torch.randn(SPEC.num_params)
    state = dict(reversed(SPEC.parameters.unflatten(params).items()))
    assert torch.equal(StateFlattener(SPEC)(state), params)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_become_float32(dtype):
    state = {k: v.to(dtype) for k, v in SPEC.make_module().state_dict().items()}
    state["layers.0.weight"] = state["layers.0.weight"].float()  # mixed
    found = StateFlattener(SPEC)(state)
    assert found.dtype == torch.float32
    expected = torch.cat([value.float().flatten() for value in state.values()])
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"b.weight": torch.ones(3, 4)}, "b.weight is [3, 4] where layers.1.weight [3, 3] is"),
        ({"b.bias": torch.ones(4)}, "b.bias is [4] where layers.1.bias [3] is expected."),
        ({"c.weight": None}, "there is no tensor where layers.2.weight [1, 3] is expected."),
        ({"a.bias": None}, "c.bias is [1] where layers.1.bias [3] is expected."),
        ({"norm.weight": torch.ones(3)}, "norm.weight [3] has no place in the architecture."),
        ({"conv": torch.ones(1, 1, 3, 3)}, "conv [1, 1, 3, 3] has no place in the architecture."),
    ],
)
def test_first_mismatch_is_named(change, detail):
    tensors = zip("aabbcc", SPEC.make_module().state_dict().items(), strict=True)
    state = {f"{layer}.{name.split('.')[-1]}": value for layer, (name, value) in tensors}
    state = {name: value for name, value in (state | change).items() if value is not None}
    with pytest.raises(Skipped) as caught:
        StateFlattener(SPEC)(state)
    assert caught.value.reason is Reason.SHAPE
    assert detail in caught.value.detail


@pytest.mark.parametrize("target", [f"{HERE}:Chain", f"{HERE}.Chain", f"{HERE}:Holder.Inner"])
def test_module_by_dotted_path(target):
    architecture = ModuleArchitecture(target, {"hidden_dim": 6}, in_width=2)
    flatten = StateFlattener.of(architecture, never)
    assert flatten.spec == NetworkSpec(
        2,
        (
            LayerSpec(6, Activation("sine", 5.0)),
            LayerSpec(6, Activation("relu"), skips=(1,)),
            LayerSpec(1, has_bias=False, offset=0.25),
        ),
    )
    module, inputs = Chain(6), torch.randn(9, 2)
    params = flatten(module.state_dict())
    outputs = stacked_forward(flatten.spec, params.unsqueeze(0), inputs)[0]
    torch.testing.assert_close(outputs, module(inputs))


def test_module_with_arguments_and_ready_module():
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:plain", {"bias": False}), never)
    assert [layer.has_bias for layer in flatten.spec.layers] == [False, True]
    assert flatten.names == ("0.weight", "2.weight", "2.bias")
    spec = StateFlattener.of(ModuleArchitecture(f"{HERE}:ready"), never).spec
    assert spec == NetworkSpec.mlp((2, 3, 1), activation=Activation("tanh"))


def test_names_of_the_module_count_more_than_order():
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:Chain", in_width=2), never)
    assert flatten.names == (
        "first.weight",
        "first.bias",
        "middle.weight",
        "middle.bias",
        "out.weight",
    )
    state = Chain().state_dict()
    flat = flatten(state)
    assert torch.equal(flat[:8], state["first.weight"].flatten())
    renamed = {f"net.{name}": value for name, value in state.items()}
    assert torch.equal(flatten(renamed), flat)


@pytest.mark.parametrize(
    ("target", "found"),
    [
        ("no_such_package:make", "No module named 'no_such_package'"),
        ("make", "cannot be imported"),
        (f"{HERE}:missing", "has no attribute 'missing'"),
        (f"{HERE}:failing", "calling it fails (no GPU)"),
        (f"{HERE}:number", "calling it fails"),
        ("builtins:dict", "it makes a dict, no torch module"),
    ],
)
def test_module_that_cannot_be_made(raises_saying, target, found):
    with raises_saying(asked=f"torch module {target}", found=found, do="package.module:factory"):
        ModuleArchitecture(target).make_spec()


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        *(("Shared", None), ("Branches", None), ("ScaledSkip", None)),
        *(("Unused", (2,)), ("TwoOutputs", (2,)), ("convolution", (1, 3, 3))),
    ],
)
def test_modules_that_no_network_spec_describes_are_traced(name, shape):
    """Their files are read by the names of their tensors, and their graphs are those of `trace`."""
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:{name}", input_shape=shape), never)
    assert isinstance(flatten.spec, TracedSpec)
    module = getattr(user_networks, name)()
    params = flatten(module.state_dict())
    example = torch.zeros(1, *(shape or (2,)))
    expected, found = trace(module, example)(module), flatten.spec.template(params)
    assert torch.equal(found.edge_attr, expected.edge_attr)
    assert torch.equal(found.x, expected.x)
    behind = {f"model.{key}": value for key, value in module.state_dict().items()}
    assert torch.equal(flatten(behind), params)


def test_tensors_of_a_traced_module_under_other_names():
    """Names decide: no order of a file stands for those of norms and branches."""
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:Branches"), never)
    state = user_networks.Branches().state_dict()
    other = {name.replace("left", "first"): value for name, value in state.items()}
    with pytest.raises(Skipped, match=r"it has no left\.weight, left\.bias, as the module calls"):
        flatten(other)
    with pytest.raises(Skipped, match=r"more \[2\] has no place"):
        flatten({**state, "more": torch.ones(2)})
    with pytest.raises(Skipped, match=r"left.weight is \[2, 2\] where left.weight \[3, 2\]"):
        flatten({**state, "left.weight": torch.ones(2, 2)})


def test_tied_tensors_of_a_traced_module_under_one_or_both_of_their_names():
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:Tied"), never)
    state = user_networks.Tied().state_dict()
    assert {"first.weight", "second.weight"} < set(state)
    both = flatten(state)
    without = {name: value for name, value in state.items() if name != "first.weight"}
    assert torch.equal(flatten(without), both)


def test_module_that_cannot_be_traced(raises_saying):
    found = "aten.conv1d.default"
    with raises_saying(asked=f"like {HERE}:late_convolution", found=found, do="can be traced"):
        ModuleArchitecture(f"{HERE}:late_convolution").make_spec()


def test_input_shape_that_is_not_clear(raises_saying):
    with raises_saying(asked="like", found="weights are [4, 1, 3, 3], not", do="input_shape 3 32"):
        ModuleArchitecture(f"{HERE}:convolution").make_spec()
    with raises_saying(asked="Chain", found="torch.export says", do="input_shape"):
        ModuleArchitecture(f"{HERE}:Chain").make_spec()  # `out` is registered first


@pytest.mark.parametrize(
    "architecture",
    [SPEC, INRArchitecture("dws", (2, 3, 1)), ModuleArchitecture(f"{HERE}:plain", {"bias": True})],
)
def test_description_is_json(architecture):
    described = describe(architecture)
    assert json.loads(json.dumps(described)) == described
    if not isinstance(architecture, NetworkSpec):
        assert set(described) == {field.name for field in dataclasses.fields(architecture)}
