"""Learning to optimize as a user runs it: to rows, figures and a file, or to one clear error."""

import pytest
import torch
from support.paths import EXPERIMENTS
from support.tables import optimizer_table

from nn_graphs import LearnedOptimizer
from nn_graphs.learned_optimizers.update_files import load_update, origin_of
from nn_graphs.results import ResultRow, append_rows, read_results
from tests.experiments.in_process import commands_of

FOLDER = EXPERIMENTS / "learning_to_optimize"
TINY = (
    "meta.num_outer_steps=2",
    "meta.num_runs=2",
    "meta.val_every=1",
    "meta.num_val_runs=2",
    "meta.num_val_steps=3",
    "method.truncation=2",
    "method.horizon=4",
    "evaluation.num_steps=6",
    "evaluation.num_seeds=2",
    "evaluation.val_every=3",
    "baselines=[adam,sgd]",
    "budget.rates=[0.01]",
)
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def run_main(tmp_path):
    """`python main.py ...` in this process, over in no time."""
    with commands_of(FOLDER, tmp_path) as command:

        def run(*overrides: str):
            command(*TINY, *overrides)
            return read_results(tmp_path / "results.csv")

        yield run


def test_from_the_command_to_rows_figures_and_an_optimizer(run_main, tmp_path):
    rows = run_main()
    again = run_main()
    assert len(again) == len(rows)  # a finished run is read, and recorded once
    assert set(rows["model"]) == {"hybrid_mlp_small", "adam", "sgd"}
    assert rows["zoo"].nunique() == 5
    assert set(rows["seed"]) == {0, 1}
    assert set(rows["metric"]) == {
        "test/quality", "test/loss", "val/loss", "train/loss", "diverged", "milliseconds",
        "speedup",
    }  # fmt: skip
    is_own = rows["model"] == "hybrid_mlp_small"
    assert rows[is_own]["options"].str.contains("meta.num_runs=2").all()
    assert not rows[~is_own]["options"].str.contains("meta|method").any()
    assert rows[~is_own]["options"].str.contains("evaluation.num_steps=6").all()
    adam = rows[(rows["model"] == "adam") & (rows["metric"] == "speedup")]["value"]
    assert adam.max() >= 1
    for name in ("curves", "meta_training"):
        assert (tmp_path / "run" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "generalization.png").stat().st_size > 5_000
    path = tmp_path / "run" / "optimizer.safetensors"
    assert load_update(path)[0].form.share == 0.1
    assert origin_of(path)["learned on"] == "digits"
    module = torch.nn.Linear(3, 2)
    before = module.weight.detach().clone()
    module(torch.ones(1, 3)).sum().backward()
    LearnedOptimizer(module, path).step()
    assert not torch.equal(module.weight, before)


def test_restarting_forgets_what_was_learned(run_main, tmp_path):
    run_main()
    history = tmp_path / "run" / "meta_training" / "history.csv"
    first = history.stat().st_mtime_ns
    run_main("restart=true", "baselines=[adam]")
    assert history.stat().st_mtime_ns > first


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("method.truncation=5", "inner runs have 4 steps"),
        ("inner_tasks.train=[]", "no inner task is given"),
        ("meta.num_outer_steps=0", "num_outer_steps: 0 is not at least 1"),
        ("evaluation.num_seeds=0", "num_seeds: 0 is not at least 1"),
        ("baselines=[adagrad]", "there is no 'adagrad'"),
        ("inner_tasks.test.same.images.dataset=letters", "there is no 'letters'"),
        ("optimizer.form.share=much", "'much' is not float"),
    ],
)
def test_mistakes_end_with_a_message(run_main, option, said):
    option = option.replace("optimizer.form", "optimizer.make.form")
    with pytest.raises(SystemExit) as caught:
        run_main(option)
    assert str(caught.value).startswith("error: Cannot ")
    assert said in str(caught.value)


def test_the_table_has_means_over_seeds(tmp_path):
    rows = [
        row(model, seed, metric, value + seed)
        for model in ("adam", "learned")
        for seed in (0, 1)
        for metric, value in (("test/quality", 0.25), ("speedup", 1.0), ("train/loss", 3.0))
    ]
    append_rows(tmp_path / "results.csv", rows)
    text = optimizer_table(tmp_path)
    assert "| digits | learned |  | 2 | 0.750 ± 0.707 |  |  | 1.50 ± 0.71 |  |  |" in text
    assert text.index("| digits | adam |") < text.index("| digits | learned |")


def row(model: str, seed: int, metric: str, value: float) -> ResultRow:
    return ResultRow(
        task="learning_to_optimize", model=model, zoo="digits", options="", seed=seed,
        metric=metric, value=value, params=0, minutes=0.0, device="cpu", versions="", commit="",
        command="", date="",
    )  # fmt: skip
