"""One statistic: the right one is found, on val alone, and named."""

import numpy as np
import pandas as pd
import pytest

from nn_graphs.best_statistic import fit_and_test_statistic, statistic_name
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.zoos.zoo import Zoo
from tests.test_boosted_trees import Spread, cnn_zoo
from tests.toy_zoos import separable_zoo


@pytest.fixture
def zoo() -> Zoo:
    """Noise, but for the weights into the last layer, which are the larger the larger the label."""
    zoo = cnn_zoo()
    params = []
    for kind, (spec, values) in enumerate(zip(zoo.specs, zoo.params, strict=True)):
        labels = zoo.table["label"][zoo.table["spec"] == kind].to_numpy()
        values = values / values.std(1, keepdim=True)
        last = slice(spec.num_params - 2 * spec.layers[-2].width - 2, spec.num_params - 2)
        values[:, last] = values[:, last].sign() * values.new_tensor(labels)[:, None]
        params.append(values)
    return Zoo(zoo.specs, tuple(params), zoo.table)


def test_the_statistic_that_tells_the_label(zoo, tmp_path):
    outcome = fit_and_test_statistic(Spread(zoo), tmp_path)
    history = pd.read_csv(tmp_path / "metrics.csv")
    best = history.loc[outcome.best_epoch]
    assert "of the weights into layer 3 of 3" in best["name"]
    assert best["val/tau"] == history["val/tau"].max() == outcome.val["tau"]
    assert outcome.test["tau"] > 0.8
    saved = np.load(tmp_path / "test_outputs.npz")
    task = Spread(zoo)
    np.testing.assert_allclose(saved["labels"], task.labels()[130:], rtol=1e-6)


def test_test_labels_decide_nothing(zoo, tmp_path):
    is_test = zoo.table["split"] == "test"
    scrambled = zoo.table.assign(label=zoo.table["label"].where(~is_test, 0.3))
    first = fit_and_test_statistic(Spread(zoo), tmp_path / "a")
    other = fit_and_test_statistic(Spread(Zoo(zoo.specs, zoo.params, scrambled)), tmp_path / "b")
    assert (first.val, first.best_epoch) == (other.val, other.best_epoch)


def test_a_finished_run_is_read(zoo, tmp_path):
    task = Spread(zoo)
    assert fit_and_test_statistic(task, tmp_path) == fit_and_test_statistic(task, tmp_path)


def test_names():
    names = [statistic_name(number, num_tensors=6) for number in range(42)]
    assert len(set(names)) == 42
    assert names[0] == "mean of the weights into layer 1 of 3"
    assert names[8] == "variance of the weights into layer 2 of 3"
    assert names[-1] == "100 % quantile of the biases of layer 3 of 3"


def test_classes_are_no_numbers(raises_saying, tmp_path):
    task = INRClassification(separable_zoo())
    with raises_saying(asked="inr_classification", found="torch.int64", do="one number a network"):
        fit_and_test_statistic(task, tmp_path)
