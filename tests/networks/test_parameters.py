"""The flat parameter vector: every bit of a module's weights, once, and nothing else."""

import pytest
import torch
from torch import nn

from nn_graphs.networks.parameters import ParameterLayout


class Tied(nn.Module):
    """An embedding tied to its read-out, a scalar, norm statistics, a buffer that is not saved."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.norm = nn.BatchNorm1d(3)
        self.scale = nn.Parameter(torch.tensor(0.7))
        self.read_out = nn.Linear(3, 5)
        self.read_out.weight = self.embedding.weight
        self.register_buffer("saved", torch.randn(2))
        self.register_buffer("unsaved", torch.randn(4), persistent=False)

    def forward(self, tokens):
        return self.read_out(self.norm(self.embedding(tokens)) * self.scale)


def make_tied() -> Tied:
    module = Tied()
    module(torch.arange(5))  # moves the norm's statistics
    return module.eval()


def test_slots_are_parameters_then_float_buffers_and_tied_names_are_aliases():
    layout = ParameterLayout.from_module(make_tied())
    assert [(slot.name, slot.shape, slot.offset, slot.aliases) for slot in layout.slots] == [
        ("scale", (), 0, ()),
        ("embedding.weight", (5, 3), 1, ("read_out.weight",)),
        ("norm.weight", (3,), 16, ()),
        ("norm.bias", (3,), 19, ()),
        ("read_out.bias", (5,), 22, ()),
        ("saved", (2,), 27, ()),
        ("norm.running_mean", (3,), 29, ()),
        ("norm.running_var", (3,), 32, ()),
    ]
    assert layout.num_params == 35


def test_layout_of_shapes_and_of_a_module_agree():
    module = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1, bias=False))
    shapes = {name: tuple(tensor.shape) for name, tensor in module.named_parameters()}
    assert ParameterLayout.from_shapes(shapes) == ParameterLayout.from_module(module)


def test_module_to_vector_to_module_keeps_every_bit():
    source, target = make_tied(), make_tied()
    layout = ParameterLayout.from_module(source)
    params = layout.flatten(source)
    target.load_state_dict(layout.unflatten(params), strict=False)  # without integer buffers
    assert torch.equal(layout.flatten(target), params)
    tokens = torch.tensor([4, 0, 2])
    assert torch.equal(target(tokens), source(tokens))
    assert target.read_out.weight is target.embedding.weight


def test_any_bits_come_back():
    layout = ParameterLayout.from_shapes({"a": (2, 3), "b": (), "c": (4,)})
    bits = torch.randint(-(2**31), 2**31 - 1, (11,), dtype=torch.int32)
    bits[0], bits[7] = 0x7FC00001, -(2**31)  # a NaN with a payload, and -0
    params = bits.view(torch.float32)
    assert torch.equal(layout.flatten(layout.unflatten(params)).view(torch.int32), bits)


def test_unflatten_gives_views_under_all_names_for_any_batch():
    layout = ParameterLayout.from_module(make_tied())
    params = torch.arange(2 * 4 * 35.0).reshape(2, 4, 35)
    tensors = layout.unflatten(params)
    assert tensors["scale"].shape == (2, 4)
    assert tensors["embedding.weight"].shape == (2, 4, 5, 3)
    assert torch.equal(tensors["read_out.weight"], tensors["embedding.weight"])
    assert tensors["norm.bias"][1, 2].tolist() == params[1, 2, 19:22].tolist()
    tensors["saved"].zero_()
    assert params[..., 27:29].abs().sum() == 0


def test_slot_is_found_by_name_and_by_alias():
    layout = ParameterLayout.from_module(make_tied())
    assert layout.slot("read_out.weight") is layout.slot("embedding.weight")
    with pytest.raises(KeyError, match="head"):
        layout.slot("head")


def test_tied_weight_may_stand_under_any_name():
    module = make_tied()
    layout, state = ParameterLayout.from_module(module), module.state_dict()
    del state["embedding.weight"]
    assert torch.equal(layout.flatten(state), layout.flatten(module))


def test_integers_and_extra_state_are_no_faults():
    module = nn.Linear(2, 1)
    layout = ParameterLayout.from_module(module)
    state = {**module.state_dict(), "num_batches_tracked": torch.tensor(3), "_extra_state": "text"}
    assert torch.equal(layout.flatten(state), layout.flatten(module))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"0.bias": None}, "1 do not fit, the first is 0.bias: nothing instead of [3]"),
        ({"0.weight": torch.ones(2, 3)}, "0.weight: [2, 3] instead of [3, 2]"),
        ({"1.weight": torch.ones(1)}, "1 do not fit, the first is 1.weight: not in the archit"),
        ({"0.bias": None, "bias": torch.ones(3)}, "2 do not fit, the first is 0.bias: nothing"),
    ],
    ids=["missing", "wrong shape", "left over", "renamed"],
)
def test_state_dict_that_does_not_fit(raises_saying, change, found):
    module = nn.Sequential(nn.Linear(2, 3))
    state = {**module.state_dict(), **change}
    state = {name: tensor for name, tensor in state.items() if tensor is not None}
    with raises_saying(asked="read 2 tensors", found=found, do="of this architecture"):
        ParameterLayout.from_module(module).flatten(state)


@pytest.mark.parametrize("length", [8, 10])
def test_vector_of_another_length(raises_saying, length):
    layout = ParameterLayout.from_shapes({"weight": (3, 2), "bias": (3,)})
    found = f"{length} long instead of 9"
    with raises_saying(asked="2 tensors", found=found, do="of this architecture"):
        layout.unflatten(torch.zeros(4, length))
