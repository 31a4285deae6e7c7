"""Planted leaks are found, each as what it is; clean zoos give no alarm."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoo_audit import audit
from nn_graphs.zoos.zoo import Zoo

SPECS = (
    NetworkSpec.mlp((2, 6, 3), activation="tanh"),
    NetworkSpec.mlp((2, 5, 3), activation="tanh"),
)
COUNT = 300
SPLITS = np.repeat(["train", "val", "test"], [180, 60, 60])


def clean_zoo(*, are_classes: bool = False, seed: int = 0) -> Zoo:
    """Two architectures by turns, labels and columns that have nothing to do with each other."""
    draw = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    params = tuple(torch.randn(COUNT // 2, s.num_params, generator=generator) for s in SPECS)
    table = pd.DataFrame(
        {
            "label": draw.integers(3, size=COUNT) if are_classes else draw.random(COUNT),
            "split": SPLITS,
            "run": np.arange(COUNT),
            "spec": np.arange(COUNT) % 2,
            "row": np.arange(COUNT) // 2,
            "learning_rate": draw.random(COUNT),
            "path": [f"net_{number:04}.pth" for number in draw.permutation(COUNT)],
        }
    )
    return Zoo(SPECS, params, table)


def with_columns(zoo: Zoo, **columns) -> Zoo:
    return dataclasses.replace(zoo, table=zoo.table.assign(**columns))


@pytest.mark.parametrize(("are_classes", "seed"), [(False, 0), (False, 1), (True, 2)])
def test_no_alarm_on_clean_zoos(are_classes, seed):
    found = audit(clean_zoo(are_classes=are_classes, seed=seed))
    assert found.findings == ()
    assert str(found) == "nothing found"


def hyper_parameter(zoo: Zoo) -> Zoo:
    noise = np.random.default_rng(1).random(COUNT)
    return with_columns(zoo, learning_rate=zoo.table["label"] + 0.3 * noise)


def file_name(zoo: Zoo) -> Zoo:
    ranks = zoo.table["label"].rank().astype(int)
    return with_columns(zoo, path=[f"net_{rank:04}.pth" for rank in ranks])


def file_time(zoo: Zoo) -> Zoo:
    return with_columns(zoo, modified=1.7e9 + 3600 * zoo.table["label"])


def counter(zoo: Zoo) -> Zoo:
    return with_columns(zoo, num_batches_tracked=(1000 * zoo.table["label"]).astype(int))


def dtype(zoo: Zoo) -> Zoo:
    names = np.where(zoo.table["label"] > 0.5, "float16", "float32")
    return with_columns(zoo, dtype=names)


def row_order(zoo: Zoo) -> Zoo:
    labels = zoo.table.groupby("split")["label"].transform(lambda own: np.sort(own.to_numpy()))
    return with_columns(zoo, label=labels)


def layout(zoo: Zoo) -> Zoo:
    return with_columns(zoo, label=0.5 * zoo.table["label"] + 0.5 * zoo.table["spec"])


@pytest.mark.parametrize(
    ("plant", "what"),
    [
        (hyper_parameter, "learning_rate"),
        (file_name, "path"),
        (file_time, "modified"),
        (counter, "num_batches_tracked"),
        (dtype, "dtype"),
        (row_order, "place in the table"),
        (layout, "architecture"),
    ],
)
def test_shortcuts(plant, what):
    zoo = plant(clean_zoo())
    assert what in audit(zoo).of("shortcut")
    if what in ("path", "place in the table"):
        zoo = with_columns(zoo, label=(3 * zoo.table["label"]).astype(int))
        assert what in audit(zoo).of("shortcut")


def first_test_network_is(zoo: Zoo, params: torch.Tensor) -> Zoo:
    """Of the first architecture; the networks of the split test begin with number 240."""
    own = zoo.params[0].clone()
    own[120] = params
    return dataclasses.replace(zoo, params=(own, zoo.params[1]))


@pytest.mark.parametrize(
    ("kinds", "noise", "kind"),
    [
        ((), 0.0, "copies"),
        (("permutation",), 0.0, "copies"),
        (("sign",), 0.0, "near_copies"),
        (("permutation", "sign"), 1e-4, "near_copies"),
    ],
)
def test_copies_across_splits(kinds, noise, kind):
    zoo = clean_zoo()
    template, generator = template_from_spec(SPECS[0]), torch.Generator().manual_seed(3)
    element = sample_symmetries(template, 1, kinds=kinds, generator=generator)
    copied = apply_symmetries(template, zoo.params[0][:1], element)[0]
    copied = copied + noise * torch.randn(len(copied), generator=generator)
    assert audit(first_test_network_is(zoo, copied)).of(kind)


def test_runs_in_two_splits_ties_and_broken_networks():
    zoo = clean_zoo()
    runs = zoo.table["run"].where(zoo.table["run"] != 299, 0)
    assert audit(with_columns(zoo, run=runs)).of("shared") == ["run"]
    tied = zoo.table["label"].where(zoo.table["label"] > 0.9, 0.1)
    assert audit(with_columns(zoo, label=tied)).of("ties") == ["label"] * 3
    assert audit(first_test_network_is(zoo, 1e6 * zoo.params[0][0])).of("diverged")
    silent = zoo.params[0][0].clone()
    silent[: 2 * 6] = 0
    found = audit(first_test_network_is(zoo, silent))
    assert found.of("dead")
    assert "the first is number 240" in str(found)
