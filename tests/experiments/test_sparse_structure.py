"""Three studies of sparse structures: rows, going on, figures, and settings that cannot be."""

import pandas as pd
import pytest
from support.paths import EXPERIMENTS
from support.tables import sparse_structure_tables

from nn_graphs.results import read_results
from tests.experiments.in_process import commands_of

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = EXPERIMENTS / "sparse_structure"
TINY = {
    "accuracy_from_structure": (
        "num_workers=1",
        "dataset.num_train=128",
        "study.num_structures=12",
        "study.num_nodes=[12,16]",
        "study.num_folds=2",
        "study.chunk_size=6",
        "study.plan.num_epochs=1",
        "study.predictors=[size_linear,linear]",
    ),
    "lottery_tickets": (
        "num_workers=1",
        "dataset.num_train=256",
        "study.hidden_widths=[20,10]",
        "study.densities=[0.5,0.25]",
        "study.seeds=[1]",
        "study.plan.num_epochs=2",
    ),
    "structure_search": (
        "num_workers=1",
        "dataset.num_train=256",
        "study.num_nodes=8",
        "study.max_weights=500",
        "study.num_evaluations=14",
        "study.population=6",
        "study.tournament=3",
        "study.num_val=64",
        "study.num_finalists=2",
        "study.num_final_seeds=2",
        "study.seeds=[1]",
        "study.plan.num_epochs=1",
    ),
}


@pytest.fixture
def run_main(tmp_path):
    """`python main.py study=...` in this process, tiny; returns the result rows."""
    with commands_of(FOLDER, tmp_path) as command:

        def run(study: str, *overrides: str) -> pd.DataFrame:
            options = (f"study={study}", f"data_root={tmp_path}", *TINY[study], *overrides)
            command(*options, run=study)
            return read_results(tmp_path / "results.csv")

        yield run


def is_figure(path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def test_accuracy_from_structure(run_main, tmp_path):
    folder = tmp_path / "accuracy_from_structure"
    rows = run_main("accuracy_from_structure")
    networks = pd.read_csv(folder / "networks.csv")
    assert sorted(zip(networks["structure"], networks["seed"], strict=True)) == [
        (structure, seed) for structure in range(12) for seed in (1, 2)
    ]
    assert networks["test_accuracy"].between(0, 100).all()
    assert networks["name"].nunique() == 12
    assert set(rows["model"]) == {"networks", "size_linear", "linear"}
    metrics = rows.set_index(["model", "metric"])["value"]
    means = networks.groupby("structure")["test_accuracy"].mean()
    assert metrics["networks", "test/accuracy"] == pytest.approx(means.mean(), abs=1e-3)
    assert metrics["linear", "fit/r2"] <= 1
    assert "ceiling/r2" in metrics["networks"]
    assert is_figure(folder / "predicted.png")
    networks[networks["structure"] != 3].to_csv(folder / "networks.csv", index=False)
    assert len(run_main("accuracy_from_structure")) == len(rows)  # recorded once
    again = pd.read_csv(folder / "networks.csv").sort_values(["seed", "structure"])
    before = networks.sort_values(["seed", "structure"])
    assert again["test_accuracy"].tolist() == before["test_accuracy"].tolist()


def test_lottery_tickets(run_main, tmp_path):
    folder = tmp_path / "lottery_tickets"
    rows = run_main("lottery_tickets", "study.methods=[magnitude,random]")
    curves = pd.read_csv(folder / "curves.csv")
    assert curves["density"].tolist() == [0.5, 0.25] * 2
    weights = 64 * 20 + 20 * 10 + 10 * 10
    assert curves["num_left"].tolist() == [round(weights * d) for d in (0.5, 0.25)] * 2
    assert curves["live_neurons"].between(0, 1).all()
    assert set(rows["model"]) == {"magnitude", "random"}
    names = set(rows["metric"])
    assert {"50%/test_accuracy", "25%/test_accuracy", "25%/useful_edges"} <= names
    assert is_figure(folder / "densities.png")
    curves[curves["method"] == "random"].to_csv(folder / "curves.csv", index=False)
    more = run_main("lottery_tickets", "study.methods=[magnitude,random]")
    assert len(more) == 1.5 * len(rows)  # the method without rows, again
    half = more.iloc[len(rows) :]
    assert set(half["model"]) == {"magnitude"}
    first = rows[rows["model"] == "magnitude"]
    assert half["value"].tolist() == first["value"].tolist()
    text = sparse_structure_tables(tmp_path)
    assert "| data | options | method | seeds | 50 % | 25 % |" in text


def test_structure_search(run_main, tmp_path):
    folder = tmp_path / "structure_search"
    rows = run_main("structure_search")
    tried = pd.read_csv(folder / "searches.csv")
    assert tried.groupby("method").size().to_dict() == {"evolution": 14, "random": 14}
    assert (tried["num_weights"] <= 500).all()
    first = tried[tried["number"] < 6].pivot(index="number", columns="method", values="num_weights")
    assert first["evolution"].tolist() == first["random"].tolist()  # they begin with the same
    for method, own in rows.groupby("model"):
        metrics = own.set_index("metric")["value"]
        best = tried[tried["method"] == method]["val_accuracy"].max()
        assert metrics["best/accuracy"] == pytest.approx(100 * best, abs=1e-3)
        assert 0 <= metrics["val/accuracy"] <= 100
        assert 0 <= metrics["test/accuracy"] <= 100
        assert own["params"].max() <= 500
    assert is_figure(folder / "searches.png")
    assert len(run_main("structure_search")) == len(rows)
    assert "| digits |" in sparse_structure_tables(tmp_path)
    assert len(run_main("structure_search", "restart=true")) == 2 * len(rows)


@pytest.mark.parametrize(
    ("study", "option", "message"),
    [
        ("accuracy_from_structure", "study.families=[small_world]", "there is no 'small_world'"),
        ("accuracy_from_structure", "study.predictors=[forest]", "there is no 'forest'"),
        ("accuracy_from_structure", "study.num_nodes=[4,16]", "12 nodes or more"),
        ("accuracy_from_structure", "study.num_nodes=[16]", r"num_nodes is \[16\]"),
        ("accuracy_from_structure", "study.num_folds=7", "num_folds is 7"),
        ("accuracy_from_structure", "study.seeds=[1,1]", r"seeds is \[1, 1\]"),
        ("accuracy_from_structure", "study.plan.batch_size=0", "batch_size: 0 is not at least 1"),
        ("lottery_tickets", "study.methods=[luck]", "there is no 'luck'"),
        ("lottery_tickets", "study.densities=[0.1,0.5]", r"densities is \[0.1, 0.5\]"),
        ("lottery_tickets", "study.densities=[2.0]", r"densities is \[2.0\]"),
        ("lottery_tickets", "study.densities=[0.5,0.0]", "densities is"),
        ("lottery_tickets", "study.hidden_widths=[]", r"hidden_widths is \[\]"),
        ("structure_search", "study.methods=[hill]", "there is no 'hill'"),
        ("structure_search", "study.population=20", "the population is 20"),
        ("structure_search", "study.max_weights=20", "a path of the nodes has 81"),
        ("structure_search", "study.num_val=0", "num_val is 0"),
        ("structure_search", "study.num_finalists=0", "num_finalists is 0"),
        ("structure_search", "study.num_val=256", "there are 256 for training"),
        ("structure_search", "study.num_nodes=many", "'many' is not int"),
    ],
)
def test_impossible_settings_are_told_before_anything_is_trained(
    run_main, tmp_path, study, option, message
):
    with pytest.raises(SystemExit, match=message):
        run_main(study, option)
    assert not list((tmp_path / study).glob("*.csv"))
    assert not list(tmp_path.rglob("chunk_*"))
