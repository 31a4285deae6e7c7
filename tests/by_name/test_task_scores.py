"""Scores of models and of anyone's predictions; what is wrong with these is told by ids."""

import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs import evaluate
from nn_graphs.tasks import ColumnClassification, INRClassification, Regression
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import separable_zoo


def named_zoo() -> Zoo:
    zoo = separable_zoo()
    table = zoo.table.assign(kind=["odd" if label else "even" for label in zoo.table["label"]])
    return Zoo(zoo.specs, zoo.params, table.assign(size=100.0 + np.arange(len(table))))


def make_task() -> INRClassification:
    return INRClassification(separable_zoo())


IDS = make_task().zoo.indices("test")
LABELS = make_task().labels().numpy()[IDS]
WRONG = np.where(np.arange(len(IDS)) < 4, 1 - LABELS, LABELS)
ACCURACY = 100 * (1 - 4 / len(IDS))


@pytest.mark.parametrize("form", ["vector", "mapping", "table", "csv", "tensor"])
def test_predictions_in_any_form(tmp_path, form):
    order = np.random.default_rng(0).permutation(len(IDS))
    table = pd.DataFrame({"prediction": WRONG[order], "id": IDS[order]})
    table.to_csv(tmp_path / "mine.csv", index=False)
    given = {
        "vector": WRONG,
        "tensor": torch.from_numpy(WRONG),
        "mapping": dict(zip(IDS.tolist(), WRONG.tolist(), strict=True)),
        "table": table,
        "csv": tmp_path / "mine.csv",
    }[form]
    score = evaluate(given, make_task())
    assert score.value == pytest.approx(ACCURACY)
    low, high = score.interval
    assert low < score.value < high
    assert f"accuracy {score.value:.4g}%" in str(score)


def test_names_of_classes():
    task = ColumnClassification(named_zoo(), column="kind")
    names = np.array(["even", "odd"])[LABELS]
    assert evaluate(names, task).value == 100
    again = ColumnClassification(named_zoo(), column="kind")
    assert evaluate(LABELS, again).value == 100


def test_numbers_in_the_unit_of_the_column():
    task = Regression(named_zoo(), column="size")
    score = evaluate(100.0 + IDS, task)
    assert (score.metric, score.metrics["mae"]) == ("r2", pytest.approx(0, abs=1e-3))
    assert score.value == pytest.approx(1)


def test_a_model_scores_as_the_task_does():
    task = make_task()
    model = torch.nn.Module()
    model.forward = lambda graphs: 9 * torch.eye(2)[(graphs.params[:, 0] > 0.5).long()]
    model.train()
    score = evaluate(model, task)
    graphs, labels = make_task().open_test().batch(range(len(IDS)))
    assert score.value == task.metrics(model(graphs), labels)["accuracy"]
    assert model.training


def test_the_test_split_is_scored_once(raises_saying):
    task = make_task()
    evaluate(WRONG, task)
    with raises_saying(asked="test split", found="scored before", do="val"):
        evaluate(WRONG, task)


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame({"id": IDS, "prediction": WRONG} | columns)


@pytest.mark.parametrize(
    ("predictions", "found"),
    [
        (WRONG[:-1], "the split has"),
        (table().iloc[2:], f"ids {IDS[0]}, {IDS[1]} are missing"),
        (pd.concat([table(), table().iloc[:1]]), f"{IDS[0]} are doubled"),
        (table(id=np.where(IDS[3] == IDS, 0, IDS)), "0 are not of the split test"),
        (table().rename(columns={"id": "number"}), "the columns are number, prediction"),
        (table(prediction=[np.nan, *WRONG[1:]]), f"{IDS[0]} are no classes"),
        (table(prediction=[7, *WRONG[1:]]), f"{IDS[0]} are no classes"),
        ("no/such/file.csv", "it cannot be read"),
    ],
)
def test_bad_predictions(raises_saying, predictions, found):
    with raises_saying(asked="score", found=found, do=""):
        evaluate(predictions, make_task())


def test_bad_numbers_and_outputs(raises_saying):
    task = Regression(named_zoo(), column="size")
    with raises_saying(asked="regression", found=f"{IDS[1]} are no finite numbers", do="Correct"):
        evaluate(np.where(IDS[1] == IDS, np.inf, 1.0), task)
    model = torch.nn.Module()
    model.forward = lambda graphs: torch.full((len(graphs), 2), torch.nan)
    with raises_saying(asked="inr_classification", found="NaN or infinite", do="Correct"):
        evaluate(model, make_task())


def test_names_that_are_numbers_of_other_classes_are_a_doubt(raises_saying):
    zoo = named_zoo()
    kinds = ["1" if label else "2" for label in zoo.table["label"]]
    task = ColumnClassification(
        Zoo(zoo.specs, zoo.params, zoo.table.assign(kind=kinds)), column="kind"
    )
    with raises_saying(asked="classification", found="as names of classes and as their", do="Give"):
        evaluate(["1"] * len(IDS), task)
