"""Regression of any column: losses in deviations, metrics in the column's unit, constant labels."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.metrics import r2_score

from nn_graphs.tasks.regression import Regression
from nn_graphs.training import train_and_test
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import separable_zoo
from tests.training.runs import change, make_model


def zoo_with(numbers) -> Zoo:
    zoo = separable_zoo()
    return Zoo(zoo.specs, zoo.params, zoo.table.assign(size=numbers))


def sizes() -> np.ndarray:
    """One per network, told by its first weight, far from 0 and from 1."""
    return 500 + 20 * separable_zoo().params[0][:, 0].numpy()


def make_task(**options) -> Regression:
    return Regression(zoo_with(sizes()), column="size", **options)


def test_outputs_are_in_deviations_of_the_training_labels():
    task, train = make_task(), sizes()[:48]
    labels = torch.from_numpy(sizes()).float()
    outputs = task.outputs_for(labels)
    np.testing.assert_allclose(outputs[:48].mean(), 0, atol=1e-5)
    np.testing.assert_allclose(outputs[:48].std(correction=0), 1, rtol=1e-5)
    torch.testing.assert_close(task.predictions(outputs), labels)
    torch.testing.assert_close(
        task.predictions(torch.zeros(1, 1)), torch.tensor([train.mean()]), check_dtype=False
    )


@pytest.mark.parametrize(
    ("loss_name", "expected"),
    [("mse", (0.25 + 9) / 2), ("mae", (0.5 + 3) / 2), ("huber", (0.125 + 2.5) / 2)],
)
def test_losses_by_hand(loss_name, expected):
    """Errors of half a deviation and of three."""
    task = make_task(loss_name=loss_name)
    labels = torch.tensor([510.0, 480.0])
    outputs = task.outputs_for(labels) + torch.tensor([[0.5], [-3.0]])
    assert task.loss(outputs, labels).item() == pytest.approx(expected, rel=1e-4)


def test_metrics_in_the_unit_of_the_column():
    task, generator = make_task(), torch.Generator().manual_seed(0)
    labels = torch.from_numpy(sizes()[:30]).float()
    predictions = labels + 5 * torch.randn(30, generator=generator)
    found = task.metrics(task.outputs_for(predictions), labels)
    pair = predictions.double().numpy(), labels.double().numpy()
    expected = {
        "r2": r2_score(pair[1], pair[0]),
        "pearson": stats.pearsonr(*pair).statistic,
        "spearman": stats.spearmanr(*pair).statistic,
        "kendall": stats.kendalltau(*pair).statistic,
        "mae": np.abs(pair[0] - pair[1]).mean(),
        "mse": np.square(pair[0] - pair[1]).mean(),
    }
    loss = found.pop("loss")
    assert found == pytest.approx(expected, rel=1e-3)
    assert loss == pytest.approx(expected["mse"] / np.var(sizes()[:48]), rel=1e-3)


def test_equal_predictions_correlate_with_nothing():
    task = make_task()
    found = task.metrics(torch.zeros(16, 1), torch.from_numpy(sizes()[:16]).float())
    assert (found["pearson"], found["spearman"], found["kendall"]) == (0, 0, 0)
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.usefixtures("one_thread")
def test_numbers_are_learned(tmp_path):
    task = make_task(metric="pearson", loss_name="huber")
    torch.manual_seed(0)
    model = make_model(task, dropout=0.0)
    model.mlp[-1] = torch.nn.Linear(model.mlp[-1].in_features, 1)
    outcome = train_and_test(model, task, change(num_epochs=60, learning_rate=2e-2), tmp_path)
    history = pd.read_csv(tmp_path / "metrics.csv")
    assert outcome.best_epoch == history["val/pearson"].idxmax()
    assert outcome.test["pearson"] > 0.9
    with np.load(tmp_path / "test_outputs.npz") as arrays:
        outputs, labels = (torch.from_numpy(arrays[name]) for name in ("outputs", "labels"))
    figures = task.figures(outputs, labels, title="a model")
    axes = figures["predictions"].axes[0]
    assert axes.get_xlabel() == "true size"
    assert f"pearson {outcome.test['pearson']:.3f}" in axes.get_title()


@pytest.mark.parametrize(("first", "split"), [(0, "train"), (48, "val"), (64, "test")])
def test_constant_labels_are_said(raises_saying, first, split):
    numbers, count = sizes(), {"train": 48, "val": 16, "test": 16}[split]
    numbers[first : first + count] = 7
    found = f"all {count} networks of the split {split} have 7"
    with raises_saying(asked="the column size", found=found, do="varies"):
        Regression(zoo_with(numbers), column="size")


@pytest.mark.parametrize("bad", [np.nan, np.inf, "large", None, 1e300])
def test_what_is_no_number(raises_saying, bad):
    numbers = sizes().astype(object)
    numbers[3] = numbers[5] = bad
    with raises_saying(asked="the column size", found="2 networks", do="Zoo.select"):
        Regression(zoo_with(numbers), column="size")


def test_unknown_names(raises_saying):
    with raises_saying(
        asked="the column depth", found="no column `depth`, but label, split, run", do="`depth`"
    ):
        Regression(zoo_with(sizes()), column="depth")
    with raises_saying(asked="the column size", found="'cosine'", do="huber"):
        Regression(zoo_with(sizes()), column="size", loss_name="cosine")
    with raises_saying(asked="the column size", found="'mse'", do="kendall"):
        Regression(zoo_with(sizes()), column="size", metric="mse")
