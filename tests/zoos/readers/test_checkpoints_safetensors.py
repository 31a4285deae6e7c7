"""Files of the safetensors format, whole and damaged byte by byte."""

import json

import pytest
import torch
from safetensors.torch import save

from nn_graphs.zoos.readers.checkpoints import parse_checkpoint, parse_safetensors
from nn_graphs.zoos.readers.read_report import Reason, Skipped

NAMES = {torch.float32: "F32", torch.float64: "F64", torch.bfloat16: "BF16", torch.int64: "I64"}
STATE = {
    "net.10.weight": torch.randn(2, 3),
    "net.2.weight": torch.randn(3, 3, dtype=torch.float64),
    "net.2.bias": torch.randn(3).to(torch.bfloat16),
    "scale": torch.tensor(2.5),
}


def written(tensors: dict[str, torch.Tensor], table_change=None) -> bytes:
    """A file as the format's description has it, sorted by name as its own library writes it."""
    table, data = {"__metadata__": {"format": "pt"}}, b""
    for name in sorted(tensors):
        values = tensors[name].contiguous()
        raw = bytes(values.reshape(-1).view(torch.uint8).tolist())
        table[name] = {
            "dtype": NAMES[values.dtype],
            "shape": list(values.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    if table_change:
        table_change(table)
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data


def test_tensors_come_back_in_natural_order():
    found = parse_safetensors(written({**STATE, "steps": torch.tensor([3])}))
    assert list(found) == ["net.2.bias", "net.2.weight", "net.10.weight", "scale"]
    for name, tensor in found.items():
        assert tensor.dtype == STATE[name].dtype
        assert torch.equal(tensor, STATE[name])


def test_no_elements():
    assert parse_safetensors(written({"empty": torch.empty(0, 3)}))["empty"].shape == (0, 3)


def test_as_the_library_writes_it():
    found = parse_safetensors(save(STATE))
    assert all(torch.equal(found[name], STATE[name]) for name in STATE)


def test_kinds_of_numbers_that_torch_lacks():
    def pack(table):
        table["scale"].update(dtype="F4", shape=[8])

    with pytest.raises(Skipped, match="'F4', which torch has not"):
        parse_safetensors(written(STATE, pack))


def test_as_a_checkpoint():
    state = parse_checkpoint(written({"module.0.bias": torch.ones(2)}), is_safetensors=True).state
    assert list(state) == ["0.bias"]


def set_offsets(*offsets):
    return lambda table: table["scale"].update(data_offsets=list(offsets))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        b"<html>" * 9,
        written(STATE)[:20],
        written(STATE)[:-1],
        (4).to_bytes(8, "little") + b"{{}}",
        (2).to_bytes(8, "little") + b"[]",
        written(STATE, set_offsets(0, 8)),
        written(STATE, set_offsets(-4, 0)),
        written(STATE, set_offsets(4000, 4004)),
        written(STATE, lambda table: table["scale"].pop("shape")),
        written(STATE, lambda table: table["scale"].update(shape="3")),
        written(STATE, lambda table: table.update(scale=3)),
    ],
)
def test_damaged(content):
    with pytest.raises(Skipped, match="no safetensors file") as caught:
        parse_safetensors(content)
    assert caught.value.reason is Reason.DAMAGED
