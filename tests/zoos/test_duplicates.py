"""Copies of networks, also with permuted neurons, are counted, within splits and across them."""

import pandas as pd
import pytest
import torch

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.duplicates import count_duplicates
from nn_graphs.zoos.readers.labelled_folder import Folder
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.readers.published import save

SPEC = NetworkSpec.mlp((2, 5, 1), activation=Activation("tanh"))
SPLITS = ["train", "train", "val", "test", "test"]


def permuted(params: torch.Tensor) -> torch.Tensor:
    """The same network with its hidden neurons in reverse order."""
    tensors = SPEC.parameters.unflatten(params)
    return torch.cat(
        [
            tensors["layers.0.weight"].flip(0).flatten(),
            tensors["layers.0.bias"].flip(0),
            tensors["layers.1.weight"].flip(1).flatten(),
            tensors["layers.1.bias"],
        ]
    )


@pytest.fixture
def params():
    return torch.randn(5, SPEC.num_params, generator=torch.Generator().manual_seed(0))


def zoo_of(params, splits=SPLITS) -> Zoo:
    return Zoo.single(SPEC, params, pd.DataFrame({"split": splits}))


def test_no_duplicates(params):
    assert count_duplicates(zoo_of(params)) == {}
    params[1] = params[0].flip(0)  # the same values, but not in the same tensors
    assert count_duplicates(zoo_of(params)) == {}


def test_copies_are_counted(params):
    params[1] = params[0]  # train, train
    params[3] = params[0]  # train, test
    params[4] = permuted(params[2])  # val, test
    assert not torch.equal(params[4], params[2])
    assert count_duplicates(zoo_of(params)) == {"exact": 2, "permuted": 1, "across_splits": 2}
    table = pd.DataFrame({"label": range(5)})
    assert count_duplicates(Zoo.single(SPEC, params, table)) == {"exact": 2, "permuted": 1}


def test_architectures_are_told_apart():
    small, large = (NetworkSpec.mlp((n, 1), activation=Activation("tanh")) for n in (1, 2))
    table = pd.DataFrame({"spec": [0, 1, 1], "row": [0, 0, 1], "split": ["train", "val", "test"]})
    params = (torch.zeros(1, small.num_params), torch.zeros(2, large.num_params))
    counts = count_duplicates(Zoo((small, large), params, table))
    assert counts == {"exact": 1, "across_splits": 1}


def test_reading_and_opening_warn(tmp_path, caplog, params):
    params[4] = permuted(params[0])
    for number, row in enumerate(params):
        save(dict(SPEC.parameters.unflatten(row)), tmp_path / f"{number}.pth")
    table = pd.DataFrame({"path": [f"{n}.pth" for n in range(5)], "split": SPLITS})
    table.to_csv(tmp_path / "labels.csv", index=False)
    said = "0 networks are exact copies of others, 1 more with neurons in another order; 1 are"
    for _ in range(2):
        caplog.clear()
        open_or_read_zoo(Folder(tmp_path), tmp_path / "zoo.h5", architecture=SPEC)
        assert said in caplog.text
