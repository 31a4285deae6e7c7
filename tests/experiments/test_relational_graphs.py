"""The experiment writes a row per graph and seed, goes on where it stopped, and shows the plane."""

import numpy as np
import pandas as pd
import pytest
from support.paths import EXPERIMENTS

from tests.datasets.image_folders import make_folders
from tests.processes import start_script

FOLDER = EXPERIMENTS / "relational_graphs"
QUICK = ("graphs.first=3", "seeds=[1,2]", "recipe.plan.num_epochs=1", "dataset.num_train=128")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """`python main.py ...` in an empty folder; returns what it says, and the rows so far."""
    folder = tmp_path_factory.mktemp("relational_graphs")
    environment = {"OMP_NUM_THREADS": "1", "NN_GRAPHS_DATA": str(folder / "data")}

    def start(*overrides: str) -> tuple[str, pd.DataFrame]:
        process = start_script(
            FOLDER / "main.py", *overrides, folder=folder, environment=environment
        )
        output = process.communicate()
        assert process.returncode == 0, output
        return output, pd.read_csv(folder / "outputs" / "runs.csv", keep_default_na=False)

    start.folder = folder
    return start


@pytest.fixture(scope="module")
def first(run):
    return run(*QUICK)


def test_a_row_per_graph_and_seed(first):
    _, rows = first
    assert sorted(zip(rows["graph_id"], rows["train_seed"], strict=True)) == [
        (graph, seed) for graph in (-1, 0, 1, 2) for seed in (1, 2)
    ]
    assert rows["top1_error"].between(0, 100).all()
    assert (rows["task"] == "mlp16_digits").all()
    baseline = rows[rows["graph_id"] == -1].iloc[0]
    assert baseline["num_flops"] == 64 * 16 + 3 * 16 * 16 + 16 * 10
    assert (rows["num_flops"] >= baseline["num_flops"]).all()
    assert rows["num_flops"].max() < 1.2 * baseline["num_flops"]


def test_it_compares_graphs_with_seeds_and_draws_the_plane(first, run):
    output, _ = first
    for text in ("complete graph", "seeds of a graph", "sweet spot of"):
        assert text in output
    assert len(list(run.folder.rglob("heat_map.png"))) == 1
    assert not list(run.folder.rglob("chunk_*.pt"))


def test_rows_that_are_there_are_skipped(first, run):
    _, before = first
    more = [one if one != "seeds=[1,2]" else "seeds=[1,2,3]" for one in QUICK]
    _, rows = run(*more)
    assert len(rows) == len(before) + 4
    pd.testing.assert_frame_equal(rows[: len(before)], before)
    assert set(rows[len(before) :]["train_seed"]) == {3}


def test_graphs_of_a_generator_over_any_two_measures(first, run):
    options = "graphs.options={degree: [2, 4, 6], p: 0.1}"
    one = ("recipe.plan.num_epochs=1", "dataset.num_train=64", "seeds=[1,2]")
    output, rows = run("graphs=generated", options, *one, "plane=[modularity,mean_degree]")
    rows = rows[rows["graph"].str.startswith("watts_strogatz")]
    assert sorted(set(rows["graph_id"])) == [0, 1, 2]
    assert "sweet spot of" in output


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ("network=cifar_cnn6", "the images are (1, 8, 8), of 10 classes"),
        ("plane=[modularity]", "it names 1 measures"),
        ("plane=[modularity,size]", "there is no 'size'"),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_trained(run, option, found):
    few = ("graphs.first=1", "seeds=[1]")
    process = start_script(FOLDER / "main.py", *few, option, folder=run.folder)
    output = process.communicate()
    assert process.returncode == 1
    assert found in output
    assert "Traceback" not in output


def test_networks_that_are_no_mlps_are_trained_one_by_one(first, run):
    few = ("graphs.first=1", "seeds=[1]", "recipe.plan.num_epochs=1", "dataset.num_train=64")
    _, rows = run("network=cnn6", *few)
    rows = rows[rows["task"] == "cnn6_digits"]
    assert rows["graph_id"].tolist() == [0, -1]
    assert rows["top1_error"].between(0, 100).all()


def test_images_are_read_from_the_disk(first, run):
    make_folders(run.folder / "data" / "pets")
    few = ("graphs.first=1", "seeds=[1]", "recipe=published_resnet", "recipe.plan.num_epochs=1")
    sizes = ("dataset.side=7", "dataset.num_classes=2", "recipe.plan.batch_size=2")
    pets = ("dataset=imagenet", "dataset.name=pets", "dataset.folder=pets", "dataset.num_loaders=0")
    _, rows = run("network=cnn6", *few, *sizes, *pets)
    rows = rows[rows["task"] == "cnn6_pets"]
    assert rows["graph_id"].tolist() == [0, -1]
    assert rows["top1_error"].isin([0, 25, 50, 75, 100]).all()


def test_a_sweep_is_selected_recorded_and_gone_on_with(tmp_path):
    environment = {"OMP_NUM_THREADS": "1", "NN_GRAPHS_DATA": str(tmp_path)}

    def start(num_candidates: int) -> tuple[np.ndarray, pd.DataFrame]:
        options = f"--num-nodes 16 --num-workers 1 --num-candidates {num_candidates}"
        process = start_script(
            *(FOLDER / "sweep.py", *options.split(), "--results", "rows.csv"),
            folder=tmp_path,
            environment=environment,
        )
        output = process.communicate()
        assert process.returncode == 0, output
        folder = tmp_path / "outputs" / "sweep_16"
        assert (folder / "selected.png").exists()
        return np.load(folder / "graphs.npy"), pd.read_csv(tmp_path / "rows.csv")

    few, _ = start(50)
    graphs, rows = start(100)
    np.testing.assert_array_equal(graphs[: len(few)], few)
    assert rows["metric"].tolist() == ["graphs", "looked_at", "processor_minutes"] * 2
    assert rows["value"][::3].tolist() == [len(few), len(graphs)]
    assert rows["value"][1::3].tolist() == [50, 100]
    assert len(few) < len(graphs) < 100
