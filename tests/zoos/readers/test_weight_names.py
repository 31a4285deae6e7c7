"""Names decide: wrappers are taken off, networks in one file told apart, no tensor vanishes."""

import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.readers.checkpoints import Checkpoint, parse_checkpoint
from nn_graphs.zoos.readers.given_architectures import (
    ChainArchitecture,
    INRArchitecture,
    StateFlattener,
)
from nn_graphs.zoos.readers.labelled_folder import Folder
from nn_graphs.zoos.readers.layer_order import order_names, possible_orders
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.read_zoo import read_zoo
from nn_graphs.zoos.readers.weight_names import may_be_transposed, networks_inside
from tests.zoos.readers.published import save
from tests.zoos.readers.user_networks import Square

HERE = "tests.zoos.readers.user_networks"
SQUARE = NetworkSpec.mlp((4, 4, 4, 4), activation=Activation("tanh"))


def checkpoint_of(content, **options) -> Checkpoint:
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return parse_checkpoint(buffer.getvalue(), **options)


def behind(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in state.items()}


def inside(infix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.replace(".", f".{infix}.", 1): value for name, value in state.items()}


def flat(*tensors: Tensor) -> Tensor:
    return torch.cat([tensor.detach().flatten() for tensor in tensors])


def numbered(numbers, *, name="net.{}.{}", seed=0) -> dict[str, Tensor]:
    """A square chain in the order of these numbers."""
    generator = torch.Generator().manual_seed(seed)
    layers = {
        n: {
            "weight": torch.randn(4, 4, generator=generator),
            "bias": torch.randn(4, generator=generator),
        }
        for n in sorted(numbers)
    }
    return {name.format(n, role): value for n in numbers for role, value in layers[n].items()}


WRAPPERS = {
    "plain": lambda state: state,
    "data parallel": lambda state: behind("module.", state),
    "compiled": lambda state: behind("_orig_mod.", state),
    "compiled data parallel": lambda state: behind("_orig_mod.module.", state),
    "data parallel, compiled": lambda state: behind("module._orig_mod.", state),
    "four": lambda state: behind("module._orig_mod.module._orig_mod.", state),
    "Lightning": lambda state: {"state_dict": behind("model.", state)},
    "Lightning, compiled": lambda state: {"state_dict": behind("model._orig_mod.", state)},
    "Lightning, data parallel": lambda state: {"state_dict": behind("model.module.", state)},
    "net": lambda state: behind("net.", state),
    "compiled inside": lambda state: inside("_orig_mod", state),
    "FSDP": lambda state: behind("_fsdp_wrapped_module.", state),
    "FSDP inside": lambda state: inside("_fsdp_wrapped_module", state),
    "averaged": lambda state: {"n_averaged": torch.tensor(3), **behind("module.", state)},
    "activation checkpoints": lambda state: inside("_checkpoint_wrapped_module", state),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_names_of_a_module_are_found_in_wrappers(wrap):
    module = Square()
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:Square"), dict)
    params = flatten(checkpoint_of(wrap(module.state_dict())).state)
    expected = flat(
        module.a.weight, module.a.bias, module.b.weight, module.b.bias, *module.c.parameters()
    )
    assert torch.equal(params, expected)


def test_other_names_than_the_modules_are_a_doubt():
    flatten = StateFlattener.of(ModuleArchitecture(f"{HERE}:Square"), dict)
    with pytest.raises(Skipped, match=r"its names x.weight.* not those of the module, a.weight"):
        flatten(numbered("xyz", name="{}.{}"))


@pytest.mark.parametrize("numbers", [(0, 2, 10), (0, 10, 2), (10, 2, 0), (2, 0, 10)])
@pytest.mark.parametrize("architecture", [ChainArchitecture("tanh"), SQUARE])
def test_numbers_in_names_go_before_the_order_of_a_file(numbers, architecture):
    checkpoint = checkpoint_of(numbered(numbers))
    spec = SQUARE if architecture is SQUARE else architecture.make_spec(checkpoint, {})
    assert spec == SQUARE
    assert torch.equal(StateFlattener(spec)(checkpoint.state), flat(*numbered((0, 2, 10)).values()))


def test_numbers_in_names_for_a_preset():
    state = numbered((0, 10, 2))
    flatten = StateFlattener.of(
        INRArchitecture("dws"), lambda: {name: tuple(v.shape) for name, v in state.items()}
    )
    assert torch.equal(flatten(state), flat(*numbered((0, 2, 10)).values()))


@pytest.mark.parametrize("names", [["out", "hidden", "input"], ["b", "a", "c"]])
def test_names_without_numbers_are_in_the_order_of_the_file(names):
    state = numbered((0, 1, 2))
    renamed = {f"{names[int(n[4])]}{n[5:]}": value for n, value in state.items()}
    assert torch.equal(StateFlattener(SQUARE)(renamed), flat(*state.values()))


def test_a_sorted_file_without_numbers_is_a_doubt():
    state = dict(sorted(numbered("abc", name="{}.{}").items()))
    with pytest.raises(Skipped, match=r"a.weight - b.weight - c.weight or a.weight - c.weight - b"):
        StateFlattener(SQUARE)(state)
    with pytest.raises(Skipped, match="order of its layers is not clear"):
        ChainArchitecture("tanh").make_spec(Checkpoint(state, {}), {})


def test_a_file_that_keeps_no_order_is_a_doubt():
    with pytest.raises(Skipped, match="order of its layers is not clear"):
        StateFlattener(SQUARE)(numbered("abc", name="{}.{}"), keeps_order=False)
    assert len(StateFlattener(SQUARE)(numbered((0, 1, 2)), keeps_order=False)) == 60


def test_layers_that_count_down_are_a_doubt():
    with pytest.raises(Skipped, match=r"up1.weight - up2.weight - up3.weight or up3.weight"):
        StateFlattener(SQUARE)(numbered((3, 2, 1), name="up{}.{}"))


def test_shapes_decide_where_names_do_not():
    spec = NetworkSpec.mlp((2, 8, 8, 1), activation=Activation("tanh"))
    params = torch.randn(spec.num_params)
    called = {"layers.0": "input", "layers.1": "hidden", "layers.2": "out"}
    state = {
        f"{called[name.rpartition('.')[0]]}.{name.rpartition('.')[2]}": value
        for name, value in spec.parameters.unflatten(params).items()
    }
    checkpoint = Checkpoint(dict(sorted(state.items())), {}, keeps_order=False)
    assert ChainArchitecture("tanh").make_spec(checkpoint, {}) == spec
    assert torch.equal(StateFlattener(spec)(checkpoint.state, keeps_order=False), params)


def test_a_bias_stays_with_its_layer():
    state = numbered((0, 1))
    del state["net.1.bias"]
    layers = NetworkSpec.mlp((4, 4, 4), activation=Activation("tanh")).layers
    swapped = (layers[0].__class__(4, layers[0].activation, has_bias=False), layers[1])
    with pytest.raises(Skipped, match=r"net.0.weight has the bias net.0.bias, expected is None"):
        StateFlattener(NetworkSpec(4, swapped))(state)


def test_orders_that_numbers_leave_open():
    assert list(possible_orders(["l.10.w", "l.9.w", "l.1.w"])) == [["l.1.w", "l.9.w", "l.10.w"]]
    orders = list(possible_orders(["fc.w", "l.1.w", "l.0.w"]))
    assert orders == [["fc.w", "l.0.w", "l.1.w"], ["l.0.w", "l.1.w", "fc.w"]]
    names = list("abcdefghijkl")
    assert order_names(names, lambda order: True, is_module_order=True) == names


TWO = {**numbered((0, 2), name="q.{}.{}"), **numbered((0, 2), name="target.{}.{}", seed=1)}


def test_several_networks_are_no_chain(tmp_path, raises_saying):
    save(TWO, tmp_path / "a.pth")
    (tmp_path / "labels.csv").write_text("path\na.pth\n")
    for architecture in (ChainArchitecture("tanh"), INRArchitecture("dws")):
        with raises_saying(asked=str(tmp_path), found="q, target may be parts", do="prefix"):
            read_zoo(Folder(tmp_path), architecture=architecture)
        for prefix in ("q", "target."):
            source = Folder(tmp_path, prefix=prefix)
            zoo, _ = read_zoo(source, architecture=architecture)
            expected = [value for name, value in TWO.items() if name.startswith(prefix)]
            assert torch.equal(zoo.params[0][0], flat(*expected))
        zoo, _ = read_zoo(Folder(tmp_path, prefix=""), architecture=architecture)
        assert zoo.spec.layer_layout == (4,) * 5


def test_several_networks_beside_a_known_architecture():
    spec = NetworkSpec.mlp((4, 4, 4), activation=Activation("tanh"))
    with pytest.raises(Skipped, match="may hold several networks, q, target"):
        StateFlattener(spec)(TWO)
    both = {
        **behind("student.", Square().state_dict()),
        **behind("teacher.", Square().state_dict()),
    }
    with pytest.raises(Skipped, match="several such networks: student, teacher"):
        StateFlattener.of(ModuleArchitecture(f"{HERE}:Square"), dict)(both)


def test_a_prefix_chooses_a_state_dict():
    content = {"policy": numbered((0, 1)), "value": numbered((0, 1), seed=1), "epoch": 3}
    state = checkpoint_of(content, prefix="value").state
    assert torch.equal(state["net.0.weight"], content["value"]["net.0.weight"])
    with pytest.raises(Skipped, match=r"none of its tensors is under critic\.: net.0.weight"):
        checkpoint_of(numbered((0, 1)), prefix="critic")


@pytest.mark.parametrize(
    ("names", "several"),
    [
        (["net.0.w", "net.1.w", "net.2.w"], []),
        (["layers.0.lin.w", "layers.1.lin.w", "fc.w"], []),
        (["enc.0.w", "enc.2.w", "dec.0.w", "dec.2.w"], ["enc", "dec"]),
        (["m.q.0.w", "m.q.2.w", "m.t.0.w", "m.t.2.w"], ["m.q", "m.t"]),
        (["body.0.w", "body.2.w", "head.0.w"], []),
        (["weight"], []),
        (["online.0.w", "target.0.w"], ["online", "target"]),
        (["m.online.0.w", "m.target.0.w"], ["m.online", "m.target"]),
        (["online.0.w", "target.0.v"], []),
        (["first.w", "second.w"], []),  # two layers
        (["up1.lin.w", "up2.lin.w"], []),  # numbered ones
        (["online.0.w", "target.0.w", "scale"], []),
    ],
)
def test_networks_inside(names, several):
    assert networks_inside(dict.fromkeys(names, (4, 4))) == several


def test_twins_of_one_layer_are_no_chain(tmp_path):
    """Which of both is the first layer, no name says: it is none."""
    layers = [nn.Linear(4, 4), nn.Linear(4, 4)]
    both = behind("online.0.", layers[0].state_dict()) | behind("target.0.", layers[1].state_dict())
    two = NetworkSpec.mlp((4, 4, 4), activation=Activation("tanh"))
    one = NetworkSpec.mlp((4, 4), activation=Activation("tanh"))
    for architecture in (ChainArchitecture("tanh"), two):
        with pytest.raises(NNGraphsError, match="online, target may be parts of one network"):
            read_one(both, tmp_path / type(architecture).__name__, architecture)
    zoo = read_one(both, tmp_path / "chosen", one, prefix="target")
    assert torch.equal(zoo.take([0])[0], flat(layers[1].weight, layers[1].bias))
    zoo = read_one(both, tmp_path / "all", two, prefix="")
    parts = [value for layer in layers for value in (layer.weight, layer.bias)]
    assert torch.equal(zoo.take([0])[0], flat(*parts))


def read_one(state, folder, architecture, **options):
    """A zoo of one file."""
    folder.mkdir()
    save(state, folder / "0.pth")
    (folder / "labels.csv").write_text("path,label\n0.pth,1\n")
    return read_zoo(Folder(folder, **options), architecture=architecture)[0]


def test_pruned_weights_are_weights_times_masks():
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    for layer in (module[0], module[2]):
        prune.random_unstructured(layer, "weight", amount=0.5)
    checkpoint = checkpoint_of(module.state_dict())
    assert sorted(checkpoint.state) == ["0.bias", "0.weight", "2.bias", "2.weight"]
    spec = ChainArchitecture("tanh").make_spec(checkpoint, {})
    module(torch.zeros(1, 4))  # computes `weight` anew
    expected = flat(module[0].weight, module[0].bias, module[2].weight, module[2].bias)
    assert torch.equal(StateFlattener(spec)(checkpoint.state), expected)


def parametrized(wrap) -> dict[str, Tensor]:
    return nn.Sequential(wrap(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 4)).state_dict()


@pytest.mark.parametrize(
    ("state", "named"),
    [
        (parametrized(parametrizations.weight_norm), "0.parametrizations.weight.original0"),
        (parametrized(parametrizations.orthogonal), "0.parametrizations.weight.original"),
        (
            {"a.weight_g": torch.ones(4, 1), "a.weight_v": torch.ones(4, 4)},
            "a.weight_g, a.weight_v",
        ),
        ({"a.weight_orig": torch.ones(4, 4), "a.weight_u": torch.ones(4)}, "a.weight_orig"),
        ({**numbered((0, 1)), "net.2.weight": torch.ones(4, 4) * 1j}, "net.2.weight can be no"),
        ({**numbered((0, 1)), "net.2.weight": torch.eye(4).to_sparse()}, "net.2.weight can be no"),
        ({**numbered((0,)), "a._orig_mod.w": torch.ones(1), "a.w": torch.ones(1)}, "both a.w"),
    ],
)
def test_tensors_that_are_no_weights_are_named(state, named):
    with pytest.raises(Skipped, match=named) as caught:
        checkpoint_of(state)
    assert caught.value.reason is Reason.SHAPE


def test_transposed_weights(tmp_path):
    module = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
    state = {
        name.replace("weight", "kernel"): value.T.contiguous() if value.ndim == 2 else value
        for name, value in module.state_dict().items()
    }
    save(state, tmp_path / "a.pth")
    (tmp_path / "labels.csv").write_text("path\na.pth\n")
    source = Folder(tmp_path, transposed=True)
    zoo, _ = read_zoo(source, architecture=ChainArchitecture("tanh"))
    assert torch.equal(zoo.params[0][0], flat(*module.parameters()))


@pytest.mark.parametrize(
    ("name", "transposed", "warns"),
    [("kernel", None, True), ("kernel", False, False), ("weight", None, False)],
)
def test_square_weights_that_may_be_transposed(tmp_path, caplog, name, transposed, warns):
    save({f"0.{name}": torch.ones(4, 4), "0.bias": torch.ones(4)}, tmp_path / "a.pth")
    (tmp_path / "labels.csv").write_text("path\na.pth\n")
    source = Folder(tmp_path, transposed=transposed)
    read_zoo(source, architecture=ChainArchitecture("tanh"))
    assert ("read as [out, in]" in caplog.text) == warns
    assert not may_be_transposed({"0.kernel": (2, 4), "1.kernel": (4, 4)})


def test_other_shapes_hint_at_transposed_weights():
    spec = NetworkSpec.mlp((2, 4), activation=Activation("tanh"))
    with pytest.raises(Skipped, match=r"Its weights may be \[in, out\] \(`transposed`\)"):
        StateFlattener(spec)({"0.kernel": torch.ones(2, 4), "0.bias": torch.ones(4)})
