"""Masked layers: dense weight times mask, in blocks or not; masked weights are zero and stay so."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.networks.masked import (
    MaskedConv1d,
    MaskedConv2d,
    MaskedConv3d,
    MaskedLayer,
    MaskedLinear,
)
from nn_graphs.networks.parameters import ParameterLayout

pytestmark = pytest.mark.usefixtures("one_thread")

MASK = torch.tensor([[1, 0, 1], [0, 1, 0]]).bool().repeat_interleave(2, 0).repeat_interleave(3, 1)
NUM_OUT, NUM_IN = MASK.shape


def make_layer(kind: str, **options) -> MaskedLayer:
    torch.manual_seed(0)
    options = {"mask": MASK, **options}
    if kind == "linear":
        return MaskedLinear(NUM_IN, NUM_OUT, **options)
    if kind == "conv1":
        return MaskedConv2d(NUM_IN, NUM_OUT, 1, **options)
    if kind == "sequence":
        return MaskedConv1d(NUM_IN, NUM_OUT, 3, stride=2, padding=2, dilation=2, **options)
    if kind == "volume":
        sizes = {"stride": (1, 2, 1), "padding": (1, 0, 2), "dilation": (1, 1, 2)}
        return MaskedConv3d(NUM_IN, NUM_OUT, (2, 3, 2), **sizes, **options)
    return MaskedConv2d(NUM_IN, NUM_OUT, (3, 2), stride=(2, 1), padding=(1, 2), **options)


def make_inputs(kind: str, *batch: int) -> torch.Tensor:
    places = {"linear": (), "sequence": (9,), "volume": (3, 6, 5)}
    shape = (NUM_IN, *places.get(kind, (6, 5)))
    return torch.randn(*batch, *shape, dtype=torch.float64)


def plain(layer: MaskedLayer, inputs: torch.Tensor) -> torch.Tensor:
    mask = MASK.to(inputs)
    if isinstance(layer, MaskedLinear):
        return F.linear(inputs, layer.weight * mask, layer.bias)
    convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[layer.weight.dim()]
    weight = layer.weight * mask[(..., *[None] * (layer.weight.dim() - 2))]
    return convolve(
        inputs,
        weight,
        layer.bias,
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
    )


KINDS = ("linear", "conv1", "conv", "sequence", "volume")


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("execution", ["dense", "blocks", "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_layer_is_weight_times_mask(kind, execution, bias):
    layer = make_layer(kind, execution=execution, bias=bias).double()
    with torch.no_grad():
        layer.weight.normal_()  # also where there is no weight
    for batch in [(4,), (2, 3)] if kind == "linear" else [(4,), ()]:
        inputs = make_inputs(kind, *batch).requires_grad_()
        leaves = (inputs, *layer.parameters())
        wanted, found = plain(layer, inputs), layer(inputs)
        assert found.shape == wanted.shape
        assert torch.allclose(found, wanted, rtol=0, atol=1e-12)
        assert found.is_contiguous()
        upstream = torch.randn_like(wanted)
        for ours, theirs in zip(
            torch.autograd.grad(found, leaves, upstream),
            torch.autograd.grad(wanted, leaves, upstream),
            strict=True,
        ):
            assert torch.allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("execution", ["dense", "blocks"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda params: torch.optim.SGD(
            params, lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4
        ),
        lambda params: torch.optim.AdamW(params, weight_decay=0.1),
    ],
)
def test_masked_weights_are_exactly_zero_through_training(kind, execution, make_optimizer):
    layer = make_layer(kind, execution=execution)
    optimizer, inputs = make_optimizer(layer.parameters()), make_inputs(kind, 5).float()
    before = layer.weight.detach().clone()
    for _ in range(20):
        optimizer.zero_grad()
        (layer(inputs).square().sum() / inputs.shape[2:].numel()).backward()
        optimizer.step()
    assert not layer.weight[~MASK].any()
    assert (layer.weight[MASK] != before[MASK]).all()


def test_mask_is_a_buffer_and_no_parameter():
    layer = make_layer("conv")
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    assert layer.state_dict()["mask"].dtype == torch.bool
    assert layer.to(torch.float64).mask.dtype == torch.bool
    assert layer.to("meta").mask.is_meta
    slots = ParameterLayout.from_module(make_layer("linear")).slots
    assert [slot.name for slot in slots] == ["weight", "bias"]


def test_mask_comes_with_the_state_dict_and_blocks_follow_it():
    source, target = make_layer("linear"), make_layer("linear", mask=None, execution="blocks")
    inputs = make_inputs("linear", 4).float()
    assert torch.allclose(target(inputs), F.linear(inputs, target.weight, target.bias))
    target.load_state_dict(source.state_dict())
    assert torch.equal(target.mask, MASK)
    assert torch.allclose(target(inputs), source(inputs), atol=1e-6)


def test_weights_of_a_dense_state_dict_are_masked():
    layer = make_layer("linear")
    dense = nn.Linear(NUM_IN, NUM_OUT).state_dict()
    layer.load_state_dict({**dense, "mask": MASK})
    assert not layer.weight[~MASK].any()
    assert torch.equal(layer.weight[MASK], dense["weight"][MASK])


@pytest.mark.parametrize("execution", ["dense", "blocks"])
def test_a_new_mask(execution):
    layer, inputs = make_layer("linear", execution=execution), make_inputs("linear", 4).float()
    layer(inputs)
    layer.set_mask(~MASK)
    assert not layer.weight.any()
    layer.reset_parameters()
    assert not layer.weight[MASK].any()
    assert layer.weight[~MASK].all()
    assert torch.allclose(layer(inputs), F.linear(inputs, layer.weight, layer.bias), atol=1e-6)


def test_a_copy_and_its_source_go_their_own_ways():
    source, inputs = make_layer("linear", execution="blocks"), make_inputs("linear", 4).float()
    outputs = source(inputs)
    twin = copy.deepcopy(source)
    assert torch.equal(twin(inputs), outputs)
    twin.set_mask(~MASK)
    assert torch.equal(source(inputs), outputs)
    assert torch.allclose(twin(inputs), twin.bias.expand(4, -1))


@pytest.mark.parametrize("execution", ["dense", "blocks"])
def test_a_mask_that_is_changed_in_place(execution):
    layer, inputs = make_layer("linear", execution=execution), make_inputs("linear", 4).float()
    layer(inputs)
    layer.mask.zero_()
    assert torch.equal(layer(inputs), layer.bias.expand(4, -1))


def test_a_mask_of_the_caller_is_copied():
    mask = MASK.clone()
    layer = make_layer("linear", mask=mask)
    mask.zero_()
    assert torch.equal(layer.mask, MASK)


def test_numbers_of_connections():
    layer = make_layer("conv")
    assert layer.num_connections == int(MASK.sum()) * 6
    assert layer.density == MASK.float().mean().item() == 0.5
    assert make_layer("conv", mask=None).density == 1


def test_a_mask_of_single_positions_of_a_kernel(raises_saying):
    mask = torch.rand(NUM_OUT, NUM_IN, 3, 2) < 0.5
    layer = make_layer("conv", mask=mask).double()
    inputs = make_inputs("conv", 2)
    wanted = F.conv2d(inputs, layer.weight * mask, layer.bias, (2, 1), (1, 2))
    assert torch.allclose(layer(inputs), wanted)
    assert layer.num_connections == mask.sum()
    layer.execution = "blocks"
    with raises_saying(asked="in blocks", found="positions of a kernel", do="dense"):
        layer(inputs)


@pytest.mark.parametrize(
    ("mask", "found"), [(MASK[:2], "[2, 9], of torch.bool"), (MASK.float(), "of torch.float32")]
)
def test_bad_masks(raises_saying, mask, found):
    with raises_saying(asked="mask weights of the shape [4, 9]", found=found, do="[4, 9]"):
        make_layer("linear", mask=mask)


def test_unknown_execution(raises_saying):
    with raises_saying(asked="'fast'", found="no 'fast'", do="auto, dense, blocks"):
        make_layer("linear", execution="fast")


def test_auto_takes_blocks_for_a_large_sparse_layer_where_nothing_else_needs_the_dense_product():
    mask = torch.eye(8).bool().repeat_interleave(64, 0).repeat_interleave(64, 1)
    layer, inputs = MaskedLinear(512, 512, mask=mask), torch.randn(256, 512)
    is_blockwise = "BlockProduct" in graph_of(layer(inputs))
    assert is_blockwise
    assert "BlockProduct" not in graph_of(layer(inputs[:4]))
    params = {name: value.expand(2, *value.shape) for name, value in layer.named_parameters()}
    stacked = torch.func.vmap(lambda p: torch.func.functional_call(layer, p, (inputs,)))(params)
    assert torch.allclose(stacked[1], layer(inputs), atol=1e-4)


def graph_of(outputs: torch.Tensor) -> str:
    """Names of the operations that lead to a tensor."""
    names, waiting = "", [outputs.grad_fn]
    while waiting:
        node = waiting.pop()
        names += f" {node.name()}"
        waiting += [before for before, _ in node.next_functions if before is not None]
    return names


def test_export_sees_a_plain_product():
    layer = make_layer("linear", execution="auto")
    program = torch.export.export(layer, (torch.zeros(2, NUM_IN),))
    operations = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert operations == ["aten.mul.Tensor", "aten.linear.default"]


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_layer_moves_to_the_gpu(kind):
    layer, inputs = make_layer(kind).double(), make_inputs(kind, 4)
    wanted = layer(inputs)
    assert torch.allclose(layer.cuda()(inputs.cuda()).cpu(), wanted, atol=1e-10)
    assert layer.mask.is_cuda
