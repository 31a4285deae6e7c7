"""Predicting accuracies: published losses, metrics, subsets, and runs that stay in one split."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.tasks.generalization import Generalization
from nn_graphs.zoos.zoo import Zoo

SIZES = {"train": 12, "val": 6, "test": 6}


def cnn_zoo(**columns) -> Zoo:
    """Small CNNs with relu and tanh in turn; two checkpoints of each run."""
    count = sum(SIZES.values())
    specs = tuple(small_cnn_zoo_spec(name) for name in ("relu", "tanh"))
    generator = torch.Generator().manual_seed(0)
    params = tuple(
        0.1 * torch.randn(count // 2, spec.num_params, generator=generator) for spec in specs
    )
    table = pd.DataFrame(
        {
            "label": np.linspace(0.1, 0.9, count).round(1),
            "split": np.repeat(list(SIZES), list(SIZES.values())),
            "run": np.arange(count) // 2,
            "activation": ["relu", "tanh"] * (count // 2),
            "spec": np.arange(count) % 2,
            "row": np.arange(count) // 2,
        }
    )
    return Zoo(specs, params, table.assign(**columns))


def test_splits_labels_and_one_look_at_the_test(raises_saying):
    task = Generalization(cnn_zoo())
    _, labels = task.dataset("val").batch(list(range(6)))
    np.testing.assert_allclose(labels, cnn_zoo().table["label"][12:18], rtol=1e-6)
    assert labels.dtype == torch.float32
    assert len(task.open_test()) == 6
    with raises_saying(asked="generalization on its test split", found="before", do="on val"):
        task.open_test()


def test_outputs_for_accuracies():
    task, accuracies = Generalization(cnn_zoo()), torch.tensor([0.02, 0.5, 0.999])
    torch.testing.assert_close(task.predictions(task.outputs_for(accuracies)), accuracies)
    beyond = task.outputs_for(torch.tensor([-0.1, 1.2]))
    assert beyond.isfinite().all()
    torch.testing.assert_close(
        task.predictions(beyond), torch.tensor([0.0, 1.0]), atol=2e-6, rtol=0
    )


def test_a_run_in_two_splits(raises_saying):
    runs = np.arange(24) // 2
    runs[12] = 5  # a checkpoint of the last training run, in val
    with raises_saying(
        asked="split the zoo for generalization",
        found="run 5 lies in 2 splits.",
        do="the same split",
    ):
        Generalization(cnn_zoo(run=runs))


@pytest.mark.parametrize("column", ["label", "run"])
def test_columns_that_it_needs(raises_saying, column):
    zoo = cnn_zoo()
    bare = Zoo(zoo.specs, zoo.params, zoo.table.drop(columns=column))
    with raises_saying(asked="accuracies", found=f"no column `{column}`", do="`label`"):
        Generalization(bare)


@pytest.mark.parametrize("bad", [50.0, -0.1, np.nan, "high"])
def test_labels_that_are_no_accuracies(raises_saying, bad):
    labels = [0.5] * 24
    labels[3] = bad
    with raises_saying(asked="accuracies", found="of network 3", do="not percent"):
        Generalization(cnn_zoo(label=labels))


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_subset_of_one_activation(activation):
    task = Generalization(cnn_zoo(), activation=activation)
    assert [spec.layers[0].activation.name for spec in task.zoo.specs] == [activation]
    assert len(task.templates) == 1
    whole = cnn_zoo()
    number = ["relu", "tanh"].index(activation)
    graphs, labels = task.dataset("train").batch([0, 5])
    assert torch.equal(graphs.params, whole.params[number][[0, 5]])
    np.testing.assert_allclose(labels, whole.table["label"][[number, 10 + number]], rtol=1e-6)


def test_activation_that_is_not_there(raises_saying):
    with raises_saying(asked="'gelu'", found="relu, tanh", do="one of these"):
        Generalization(cnn_zoo(), activation="gelu")


def test_losses():
    outputs, labels = torch.randn(7, 1), torch.rand(7)
    bce, mse = (Generalization(cnn_zoo(), loss_name=name) for name in ("bce", "mse"))
    expected = F.binary_cross_entropy(outputs[:, 0].sigmoid(), labels)
    torch.testing.assert_close(bce.loss(outputs, labels), expected)
    expected = (outputs[:, 0].sigmoid() - labels).square().mean()
    torch.testing.assert_close(mse.loss(outputs, labels), expected)
    for task in (bce, mse):
        assert torch.equal(task.predictions(outputs), outputs[:, 0].sigmoid())


def test_metrics_of_perfect_predictions():
    """The order is right, but equal labels keep tau-b below 1; its share of the ceiling is 1."""
    labels = torch.tensor([0.1, 0.1, 0.4, 0.4, 0.4, 0.9])
    outputs = torch.tensor([-3.0, -2.9, 0.0, 0.1, 0.2, 3.0])[:, None]
    task = Generalization(cnn_zoo())
    metrics = task.metrics(outputs, labels)
    assert (
        metrics["tau"] == pytest.approx(metrics["tau_ceiling"]) == pytest.approx((11 / 15) ** 0.5)
    )
    assert metrics["tau_of_ceiling"] == pytest.approx(1)
    assert metrics["l1"] == pytest.approx((outputs[:, 0].sigmoid() - labels).abs().mean().item())
    assert metrics["spearman"] == pytest.approx(stats.spearmanr(outputs[:, 0], labels).statistic)
    assert metrics[task.metric] == metrics["tau"]


def test_figure_of_predicted_against_true_accuracies():
    task, labels = Generalization(cnn_zoo()), torch.linspace(0.1, 0.9, 9)
    figures = task.figures(task.outputs_for(labels), labels, title="trees on cnns")
    (axes,) = figures["predictions"].axes
    assert axes.get_title() == "trees on cnns: tau 1.000 of at most 1.000"
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points, np.stack([labels, labels], axis=1), rtol=1e-5)


def test_fingerprints_tell_losses_and_subsets():
    whole = Generalization(cnn_zoo()).fingerprints()
    assert Generalization(cnn_zoo()).fingerprints() == whole
    mse = Generalization(cnn_zoo(), loss_name="mse").fingerprints()
    assert {key for key in whole if mse[key] != whole[key]} == {"settings of the task"}
    relu = Generalization(cnn_zoo(), activation="relu").fingerprints()
    assert {key for key in whole if relu[key] != whole[key]} == set(whole) - {
        "settings of the task"
    }
