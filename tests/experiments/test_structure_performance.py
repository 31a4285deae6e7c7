"""Everything that the experiment makes of a zoo of trajectories, and its tables."""

import hydra
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support.paths import EXPERIMENTS
from support.structure import Study
from support.tables import structure_tables

from nn_graphs.configs import CONFIGS
from nn_graphs.encoders import VGAE, GraphDims, StructureEncoder
from nn_graphs.graphs.positional import LaplacianEncoding
from nn_graphs.plotting import save_figure
from nn_graphs.results import ResultRow, append_rows, read_results
from nn_graphs.zoos.batches import make_templates
from tests.experiments.in_process import commands_of
from tests.structure_performance.trajectories import CNN, DEEP, FLAT, trajectory_zoo

pytestmark = pytest.mark.usefixtures("one_thread")
FOLDER = EXPERIMENTS / "structure_performance"
CONFIG = OmegaConf.load(CONFIGS / "structure_performance.yaml")
SETTINGS = hydra.utils.instantiate(CONFIG.study, _convert_="all")
BASELINES = {"epoch_index", "weight_norms", "statnn_statistics", "boosted_trees", "graph_measures"}


def make_study(*specs) -> Study:
    zoo = trajectory_zoo(specs=specs)
    templates = make_templates(zoo)
    torch.manual_seed(0)
    encoder = StructureEncoder(templates, dim=8, num_heads=2, encoding=LaplacianEncoding(3))
    vgae = VGAE(encoder, GraphDims.of(templates), latent_dim=4).eval()
    return Study(zoo, {"vgae": vgae}, SETTINGS, seed=0)


@pytest.fixture(scope="module")
def metrics():
    return make_study(FLAT, DEEP).metrics()


def test_every_baseline_stands_beside(metrics):
    scored = {model for model, found in metrics.items() if "random/test/pearson" in found}
    assert scored == {"vgae", *BASELINES}
    for model in scored:
        for protocol in ("random", "run_disjoint"):
            for side in ("train", "test"):
                names = {f"{protocol}/{side}/{s}" for s in ("pearson", "spearman", "kendall", "r2")}
                assert names <= set(metrics[model])


def test_all_numbers_are_numbers(metrics):
    values = [value for found in metrics.values() for value in found.values()]
    assert len(values) > 100
    assert np.isfinite(values).all()


def test_the_epoch_tells_much_of_performance_under_both_protocols(metrics):
    found = metrics["epoch_index"]
    assert found["random/test/pearson"] > 0.6
    assert found["run_disjoint/test/pearson"] > 0.6


def test_selection_and_fingerprints(metrics):
    assert metrics["chance"]["selection/10%"] == pytest.approx(0.25)
    assert metrics["train_loss"]["selection/50%"] == 1  # the order never changes in this zoo
    assert metrics["weights"]["fingerprint/recall"] == 1
    assert metrics["weights"]["fingerprint/permuted"] < 0.6
    assert 0 <= metrics["vgae"]["fingerprint/permuted"] <= 1
    assert -1 <= metrics["vgae"]["silhouette"] <= 1


def write_connectomes(root) -> None:
    random = np.random.default_rng(0)
    names = ("celegans_witvliet_1", "celegans_witvliet_2", "celegans_witvliet_3", "other")
    arrays = {f"{name}/edges": random.integers(0, 12, (2, 40)) for name in names}
    np.savez(root / "connectomes.npz", **arrays)


@pytest.mark.parametrize("specs", [(FLAT,), (FLAT, DEEP), (CNN,)])
def test_figures(tmp_path, specs):
    write_connectomes(tmp_path)
    figures = make_study(*specs).figures(tmp_path)
    expected = {"held_out", "embedding_pca", "embedding_tsne", "selection", "connectomes"}
    assert set(figures) == expected
    names = [text.get_text() for text in figures["connectomes"].axes[0].texts]
    assert names == ["1", "2", "3"]
    assert "in order by" in figures["connectomes"].axes[0].get_title()
    assert save_figure(figures["held_out"], tmp_path / "a.png").stat().st_size > 10_000


def test_figures_without_connectomes(tmp_path):
    assert "connectomes" not in make_study(FLAT).figures(tmp_path)


def test_tables_have_published_numbers_beside_ours(tmp_path):
    rows = [
        row("vgae_ea_tc_lf", "moons_trajectories", seed, f"{protocol}/{side}/pearson", value + seed)
        for seed in (0, 1)
        for protocol, value in (("random", 0.25), ("run_disjoint", -0.25))
        for side in ("train", "test")
    ]
    rows.append(row("epoch_index", "moons_trajectories", 0, "random/test/pearson", 0.5))
    rows.append(row("weights", "moons_trajectories", 0, "fingerprint/recall", 0.875))
    append_rows(tmp_path / "results.csv", rows)
    text = structure_tables(tmp_path)
    train, test, others = text.split("###")[1:]
    line = "| moons_trajectories | vgae_ea_tc_lf |  | 2 | {} | 0.75 (0.5000) | 0.25 (0.5000) |"
    assert line.format("0.74") in train
    assert line.format("0.71") in test
    assert "| moons_trajectories | epoch_index |  | 1 |  | 0.50 |  |" in test
    assert "epoch_index" not in train
    assert "| weights |  |  |  |  |  |  | 0.88 |  |" in others


def row(model: str, zoo: str, seed: int, metric: str, value: float) -> ResultRow:
    return ResultRow(
        task="structure_performance", model=model, zoo=zoo, options="", seed=seed, metric=metric,
        value=value, params=0, minutes=0.0, device="cpu", versions="", commit="", command="",
        date="",
    )  # fmt: skip


# From the command to rows and figures.

TINY = (
    "zoo.recipe.num_runs=8",
    "zoo.recipe.num_epochs=8",
    "encoder.model.encoder.dim=8",
    "trainer.num_epochs=1",
    "trainer.accelerator=cpu",
    "study.num_divisions=1",
    "study.baselines=[epoch_index,weight_norms]",
    "study.num_fingerprint_epochs=3",
)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Where the first run makes the zoo, which the others open."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def run_main(tmp_path, data_root):
    """`python main.py ...` in this process, on a zoo that is made in no time."""
    with commands_of(FOLDER, tmp_path) as command:

        def run(*overrides: str):
            command(f"data_root={data_root}", *TINY, *overrides)
            return read_results(tmp_path / "results.csv")

        yield run


def test_from_the_command_to_rows_and_figures(run_main, tmp_path):
    rows = run_main()
    again = run_main()
    assert len(again) == len(rows)  # a finished run is read, and recorded once
    encoder = rows[rows["model"] == "vgae_ea_tc_lf"].set_index("metric")
    assert {"test/elbo", "random/test/pearson", "run_disjoint/train/r2"} <= set(encoder.index)
    assert "encoder.model.encoder.dim=8" in encoder["options"].iloc[0]
    others = rows[rows["model"] != "vgae_ea_tc_lf"]
    assert {"vgae_ea_tc_lf_untrained", "epoch_index", "weights", "chance"} <= set(others["model"])
    is_untrained = others["model"].str.endswith("_untrained")
    assert others[is_untrained]["options"].str.contains("encoder.model").all()
    assert not others[~is_untrained]["options"].str.contains("encoder|trainer").any()
    assert others[~is_untrained]["options"].str.contains("zoo.recipe.num_runs=8").all()
    for name in ("held_out", "embedding_pca", "selection", "learning_curves"):
        assert (tmp_path / "run" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "run" / "encoder.safetensors").exists()


def test_figures_of_the_readme(run_main, tmp_path):
    """Where they are asked for, and of no consequence for anything else."""
    rows = run_main(f"figures={tmp_path}")
    for shown, made in (("figure_2", "embedding_pca"), ("held_out", "held_out")):
        assert (tmp_path / f"{shown}.png").read_bytes().startswith(b"\x89PNG")
        assert (tmp_path / "run" / f"{made}.png").exists()
    assert not rows["options"].str.contains("figures").any()


def test_too_few_runs_are_told(run_main, tmp_path):
    with pytest.raises(SystemExit, match="choose among 4 candidates"):
        run_main("zoo.recipe.num_runs=5", f"zoo.path={tmp_path / 'few.h5'}")
    assert not (tmp_path / "run" / "metrics.csv").exists()  # before anything is trained


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("study.baselines=[epoch]", "there is no 'epoch'"),
        ("study.num_divisions=0", "num_divisions: 0 is not at least 1"),
        ("study.num_candidates=1", "num_candidates is 1"),
        ("study.selection_epochs=[0.5,2]", "selection_epochs: 2 is not at least 0 and at most 1"),
        ("study.num_fingerprint_epochs=0", "num_fingerprint_epochs: 0 is not at least 1"),
        ("study.num_divisions=few", "study.num_divisions: 'few' is not int"),
        ("target.latent_dim=0", "latent_dim: 0 is not at least 1"),
    ],
)
def test_impossible_settings_are_told_before_anything_is_trained(
    run_main, tmp_path, option, message
):
    with pytest.raises(SystemExit, match=message):
        run_main(option)
    assert not (tmp_path / "run" / "metrics.csv").exists()
