"""Plain pickles of arrays are read; whatever else they name is refused and not run."""

import argparse
import os
import pickle
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.readers.checkpoints import Fields, parse_checkpoint
from nn_graphs.zoos.readers.labelled_folder import Folder
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.read_zoo import read_zoo

PROTOCOLS = (2, 3, 4, 5)
WEIGHT = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "content",
    [
        {"0.weight": WEIGHT, "0.bias": np.ones(3)},
        OrderedDict({"0.weight": np.asfortranarray(WEIGHT), "0.bias": np.ones(3)}),
        {"0.weight": WEIGHT.astype(">f4"), "0.bias": np.ones(3, dtype=">f8")},
        {"state_dict": {"0.weight": torch.from_numpy(WEIGHT), "0.bias": torch.ones(3)}},
        {"model": {"0.weight": torch.nn.Parameter(torch.from_numpy(WEIGHT)), "0.bias": np.ones(3)}},
    ],
)
def test_arrays_and_tensors(content, protocol):
    state = parse_checkpoint(pickle.dumps(content, protocol=protocol)).state
    assert torch.equal(state["0.weight"], torch.from_numpy(WEIGHT))
    assert state["0.bias"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_harmless_objects_beside_arrays_are_their_fields(protocol):
    content = {"args": argparse.Namespace(lr=0.1), "loss": np.float64(0.25), "model": {"w": WEIGHT}}
    entries = parse_checkpoint(pickle.dumps(content, protocol=protocol)).entries
    assert isinstance(entries["args"], Fields)
    assert entries["args"].lr == 0.1
    assert entries["loss"] == 0.25


class Runs:
    """Runs code when a pickle of it is loaded."""

    def __init__(self, *call: object):
        self.call = call

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("evil", "named"),
    [
        (lambda place: Runs(os.mkdir, (place,)), "mkdir"),
        (lambda place: Runs(eval, (f"__import__('os').mkdir({place!r})",)), "eval"),
        (lambda place: Runs(np.load, (place,)), "numpy"),
        (lambda place: Runs(torch.load, (place,)), "torch"),
    ],
)
def test_code_is_not_run(tmp_path, evil, named, protocol):
    content = {"model": {"w": WEIGHT}, "extra": evil(str(tmp_path / "owned"))}
    pickled = pickle.dumps(content, protocol=protocol)
    with pytest.raises(Skipped, match=f"{named}.* would have to be called") as caught:
        parse_checkpoint(pickled)
    assert caught.value.reason is Reason.CODE
    assert list(tmp_path.iterdir()) == []


def test_what_is_damaged_or_of_objects():
    whole = pickle.dumps({"w": WEIGHT}, protocol=4)
    for content in (whole[:-20], pickle.dumps({"w": np.array([{}], dtype=object)})):
        with pytest.raises(Skipped) as caught:
            parse_checkpoint(content)
        assert caught.value.reason is Reason.DAMAGED


def test_a_zoo_of_pickles(tmp_path):
    spec = NetworkSpec.mlp((2, 3, 1), activation="tanh")
    for number in range(3):
        params = torch.full((spec.num_params,), float(number))
        state = {name: value.numpy() for name, value in spec.parameters.unflatten(params).items()}
        path = tmp_path / f"{number}{('.pkl', '.pickle', '.PKL')[number]}"
        path.write_bytes(pickle.dumps(state))
    names = [path.name for path in sorted(tmp_path.iterdir())]
    pd.DataFrame({"path": names}).to_csv(tmp_path / "labels.csv", index=False)
    zoo, report = read_zoo(Folder(tmp_path), architecture=spec)
    assert report.skips == ()
    assert zoo.params[0][:, 0].tolist() == [0, 1, 2]
