"""State dicts are found wherever a file nests them; code in a file is never run."""

import argparse
import io
import os
import warnings
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from nn_graphs.zoos.readers.checkpoints import Fields, load_arrays, parse_checkpoint
from nn_graphs.zoos.readers.read_report import Reason, Skipped

STATE = {"0.weight": torch.arange(6.0).reshape(3, 2), "0.bias": torch.arange(3.0)}
OTHER = {"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)}


def saved(content, **options) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def prefixed(prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in STATE.items()}


def parameters() -> OrderedDict:
    return OrderedDict((name, nn.Parameter(value)) for name, value in STATE.items())


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        OrderedDict(STATE),
        parameters(),
        {**STATE, "label": 3, "num_batches": torch.tensor(7)},
        {"model": STATE},
        {"state_dict": STATE, "epoch": 3, "best_loss": torch.tensor(0.5)},
        {"weights": STATE, "losses": [1.0, 2.0]},
        {"checkpoint": {"epoch": 3, "network": STATE}},
        {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "model": STATE},
        {"optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}, "inr": STATE},
        {"ema": OTHER, "model_state_dict": STATE},
        {"history": torch.ones(9), "model": STATE},
        prefixed("module."),
        prefixed("_orig_mod."),
        {"model": prefixed("module._orig_mod.")},
        {"model": prefixed("_orig_mod.module.")},
    ],
)
@pytest.mark.parametrize("is_zip", [True, False])
def test_state_is_found(content, is_zip):
    state = parse_checkpoint(saved(content, _use_new_zipfile_serialization=is_zip)).state
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert not any(value.requires_grad for value in state.values())


def test_entries_beside_the_weights():
    assert parse_checkpoint(saved({**STATE, "label": 3})).entries["label"] == 3


def test_a_prefix_of_some_names_stays():
    state = {**prefixed("module."), "head.weight": torch.ones(1, 3)}
    assert list(parse_checkpoint(saved(state)).state) == list(state)


class RunsCode:
    """Unpickled, it makes the folder `name`."""

    def __init__(self, name: str):
        self.name = name

    def __reduce__(self):
        return os.mkdir, (self.name,)


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("is_nested", [True, False])
def test_code_is_not_run(tmp_path, is_zip, is_nested):
    evil = RunsCode(str(tmp_path / "owned"))
    content = saved(
        {"model": STATE, "extra": evil} if is_nested else evil,
        _use_new_zipfile_serialization=is_zip,
    )
    with pytest.raises(Skipped, match="mkdir would have to be called") as caught:
        parse_checkpoint(content)
    assert caught.value.reason is Reason.CODE
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f2", "fortran"])
def test_arrays_in_files_of_torch_save(kind):
    arrays = {name: value.numpy() for name, value in STATE.items()}
    changed = {
        name: np.asfortranarray(value) if kind == "fortran" else value.astype(kind)
        for name, value in arrays.items()
    }
    found = parse_checkpoint(saved({"epoch": np.int64(3), "state_dict": changed}))
    assert found.entries["epoch"] == 3
    assert list(found.state) == list(STATE)
    for name, value in STATE.items():
        assert torch.equal(
            found.state[name].float(), value.half().float() if "2" in kind else value
        )


def test_arrays_that_say_what_they_do_not_hold():
    objects = np.array([print, None], dtype=object)
    with pytest.raises(Skipped, match=r"damaged|would have to be"):
        parse_checkpoint(saved({"weight": objects}))
    content = saved({"weight": np.zeros((3, 5), np.float32)})
    with pytest.raises(Skipped):
        parse_checkpoint(content.replace(b"K\x03K\x05\x86", b"K\x7fK\x7f\x86"))


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (saved(nn.Linear(2, 3)), "torch.nn.modules.linear.Linear would have to be called"),
    ],
)
def test_what_needs_code(content, detail):
    with pytest.raises(Skipped) as caught:
        parse_checkpoint(content)
    assert caught.value.reason is Reason.CODE
    assert detail in caught.value.detail


@pytest.mark.parametrize(
    ("beside", "found"),
    [
        (argparse.Namespace(lr=0.1), None),
        (Path("runs/3"), None),
        (SimpleNamespace(lr=0.1), None),
        (np.float64(0.25), 0.25),
        (np.float32(0.25), 0.25),
        (np.int64(-3), -3),
        (np.bool_(True), True),
    ],
)
def test_objects_beside_the_weights_are_data(beside, found):
    checkpoint = parse_checkpoint(saved({"model": STATE, "beside": beside}))
    assert torch.equal(checkpoint.state["0.weight"], STATE["0.weight"])
    entry = checkpoint.entries["beside"]
    if found is None:
        assert isinstance(entry, Fields)
        assert getattr(entry, "lr", 0.1) == 0.1
    else:
        assert entry == found
        assert type(entry) is type(found)


def test_arrays_of_numpy():
    buffer = io.BytesIO()
    np.savez(buffer, **{name: value.numpy() for name, value in STATE.items()})
    state = parse_checkpoint(buffer.getvalue(), load=load_arrays).state
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    buffer = io.BytesIO()
    np.savez(buffer, a=np.array([{}], dtype=object))
    with pytest.raises(Skipped, match="Object arrays cannot be loaded"):
        parse_checkpoint(buffer.getvalue(), load=load_arrays)


def test_torchscript_needs_code():
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated
        torch.jit.save(torch.jit.trace(nn.Linear(2, 3), torch.zeros(1, 2)), buffer)
    with pytest.raises(Skipped, match="a TorchScript program") as caught:
        parse_checkpoint(buffer.getvalue())
    assert caught.value.reason is Reason.CODE


@pytest.mark.parametrize("is_zip", [True, False])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9, 0.999])
def test_truncated_files(is_zip, share):
    content = saved(STATE, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(Skipped) as caught:
        parse_checkpoint(content[: int(share * len(content))])
    assert caught.value.reason is Reason.DAMAGED
    assert caught.value.detail == "it is empty." or "bytes that torch cannot read (" in (
        caught.value.detail
    )
    assert len(caught.value.detail) < 150


@pytest.mark.parametrize(
    "content", [b"<!DOCTYPE html><html>", b"version https://git-lfs", bytes(range(256)), b"PK\3\4"]
)
def test_other_files(content):
    with pytest.raises(Skipped, match="bytes that torch cannot read") as caught:
        parse_checkpoint(content)
    assert caught.value.reason is Reason.DAMAGED


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        ({}, "an empty dictionary"),
        ({"epoch": 3, "loss": [0.1]}, "the entries epoch, loss"),
        (torch.ones(3), "a Tensor"),
        ([STATE], "a list"),
        ({"0.weight": torch.ones(3, 2, dtype=torch.int8)}, "the entries 0.weight"),
        ({"0.weight": torch.eye(3).to_sparse()}, "the entries 0.weight"),
    ],
)
def test_no_state_dict(content, detail):
    with pytest.raises(Skipped, match=f"holds no state dict but {detail}"):
        parse_checkpoint(saved(content))


def test_several_state_dicts():
    with pytest.raises(Skipped, match="several state dicts: generator, critic"):
        parse_checkpoint(saved({"generator": STATE, "critic": OTHER}))
