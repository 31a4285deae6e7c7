"""INR classification as a user runs it: commands in its folder, on the tiny zoo."""

import dataclasses
import json
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from support.launch import EXPERIMENTS

from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.results import COLUMNS, read_results
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import TrainingSettings, train_and_test
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from nn_graphs.zoos.zoo import Zoo
from tests.conftest import TINY_RECIPE
from tests.processes import Forked, start_script

FOLDER = EXPERIMENTS / "inr_classification"
SHORT = ("trainer.num_epochs=2", "trainer.batch_size=16", "trainer.max_minutes=null")
FIGURES = ("learning_curves.png", "confusion.png", "renderings.png")
TIMEOUT = 240


def recipe_options(recipe: INRRecipe) -> list[str]:
    """The options that turn the recipe of `zoo=digits` into another one."""
    values = dataclasses.asdict(recipe) | {"hidden_widths": list(recipe.hidden_widths)}
    return [
        f"zoo.recipe.{name}={value}".replace(" ", "")
        for name, value in values.items()
        if value is not None
    ]


SETTINGS = {
    "NN_GRAPHS_PROGRESS": "0",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "TORCH_COMPILE_DISABLE": "1",
}


def start(*arguments: str, environment: Mapping[str, str] = {}) -> Forked:
    """`python main.py ...` in the experiment's folder, on one thread and without a compiler."""
    return start_script(FOLDER / "main.py", *arguments, environment={**SETTINGS, **environment})


def finish(process: Forked) -> str:
    """What a command that must succeed prints."""
    output = process.communicate(timeout=TIMEOUT)
    assert_succeeded(process.returncode, output)
    return output


def assert_succeeded(returncode: int, output: str) -> None:
    assert returncode == 0, output
    assert "arn" not in output.replace("learn", ""), output  # no warnings


class Commands:
    """Runs that write into one folder instead of the experiment's own `outputs`."""

    def __init__(self, folder: Path, zoo_path: Path):
        self.folder, self.results = folder, folder / "results.csv"
        self.common = [
            f"zoo.path={zoo_path}",
            f"results={self.results}",
            *recipe_options(TINY_RECIPE),
            *SHORT,
        ]

    def arguments(self, run: str, *overrides: str) -> list[str]:
        return [f"hydra.run.dir={self.folder / run}", *self.common, *overrides]

    def start(self, run: str, *overrides: str) -> Forked:
        return start(*self.arguments(run, *overrides))


@pytest.fixture(scope="module")
def commands(tmp_path_factory, tiny_zoo_path) -> Commands:
    return Commands(tmp_path_factory.mktemp("experiment"), tiny_zoo_path)


@pytest.fixture(scope="module")
def first_output(commands) -> str:
    """Of a command as a shell runs it; others are run by `tests.processes`, which is quicker."""
    done = subprocess.run(
        [sys.executable, "main.py", *commands.arguments("first", "encoder=flat_mlp")],
        cwd=FOLDER,
        env={**os.environ, **SETTINGS},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert_succeeded(done.returncode, done.stdout)
    return done.stdout


def test_run_writes_figures_and_reports(commands, first_output):
    run = commands.folder / "first"
    for name in FIGURES:
        assert (run / name).read_bytes().startswith(b"\x89PNG")
    assert (commands.folder / "scores_digits_inrs.png").exists()
    outcome = json.loads((run / "outcome.json").read_text())
    assert f"accuracy {outcome['val']['accuracy']:.1f}% on val" in first_output
    assert f"{outcome['test']['accuracy']:.1f}% on test" in first_output
    assert "test/accuracy on digits_inrs so far" in first_output
    assert str(run) in first_output
    history = pd.read_csv(run / "metrics.csv")
    assert history["epoch"].tolist() == [0, 1]
    assert len(np.load(run / "test_outputs.npz")["labels"]) == 8


def test_rows_say_what_was_run(commands, first_output):
    outcome = json.loads((commands.folder / "first" / "outcome.json").read_text())
    rows = read_results(commands.results).head(6)
    assert tuple(rows.columns) == COLUMNS
    assert dict(zip(rows["metric"], rows["value"], strict=True)) == {
        f"{split}/{name}": round(outcome[split][name], 6)
        for split in ("val", "test")
        for name in ("accuracy", "balanced_accuracy", "loss")
    }
    for column, value in {
        "task": "inr_classification",
        "model": "flat_mlp",
        "zoo": "digits_inrs",
        "seed": 0,
        "params": outcome["num_params"],
        "device": "cpu (1 threads)",
    }.items():
        assert set(rows[column]) == {value}
    (options,) = set(rows["options"])
    assert "trainer.num_epochs=2" in options
    assert "zoo.recipe.num_train=24" in options
    assert "results=" not in options
    assert "encoder=" not in options


def test_finished_run_is_not_repeated(commands, first_output):
    run, rows = commands.folder / "first", len(read_results(commands.results))
    watched = [run / "outcome.json", run / "metrics.csv", run / "checkpoints" / "last.ckpt"]
    before = [file.stat().st_mtime_ns for file in watched]
    again = finish(commands.start("first", "encoder=flat_mlp"))
    assert [file.stat().st_mtime_ns for file in watched] == before
    assert len(read_results(commands.results)) == rows
    assert "% on test" in again


def test_command_of_a_row_makes_it_again(commands, first_output):
    """Also `restart=true`, which lets what does not belong to the run alone."""
    run = commands.folder / "first"
    notes = run / "notes" / "mine.txt"
    notes.parent.mkdir()
    notes.write_text("mine")
    before = read_results(commands.results)
    python, script, *options = shlex.split(before["command"].iloc[0])
    assert (python, script) == ("python", "main.py")
    finish(start(*options, f"hydra.run.dir={run}", "restart=true"))
    table = read_results(commands.results)
    assert len(table) == len(before) + 6
    for column in ("metric", "value", "command", "options", "model", "seed"):
        assert table[column].tail(6).tolist() == before[column].head(6).tolist()
    assert notes.read_text() == "mine"


def test_multirun(commands, first_output):
    rows = len(read_results(commands.results))
    small = ["encoder.model.hidden_dims=[8]", "seed=1"]
    sweep = f"hydra.sweep.dir={commands.folder / 'sweep'}"
    finish(start("--multirun", sweep, *commands.common, "encoder=flat_mlp,ng_gnn", *small))
    added = read_results(commands.results).iloc[rows:]
    assert added["model"].tolist() == ["flat_mlp"] * 6 + ["ng_gnn"] * 6
    assert set(added["seed"]) == {1}
    assert added["command"].nunique() == 2
    runs = sorted(path.parent for path in (commands.folder / "sweep").glob("*/outcome.json"))
    assert len(runs) == 2
    assert "encoder=flat_mlp" in runs[0].name
    assert "encoder=ng_gnn" in runs[1].name
    for run in runs:
        assert all((run / name).exists() for name in FIGURES)
    assert (commands.folder / "sweep" / "scores_digits_inrs.png").exists()


def assert_message(output: str, *parts: str) -> None:
    for part in parts:
        assert part in output
    assert "Traceback" not in output
    assert len(output.splitlines()) <= 60  # hydra lists what there is


def test_mistakes_end_with_a_message(commands, tmp_path):
    wrong = commands.start("wrong", "trainer.num_epochs=four", "trainer.precision=7")
    mnist = start(
        *["zoo=mnist", f"hydra.run.dir={tmp_path}", f"results={tmp_path / 'results.csv'}"],
        environment={"NN_GRAPHS_DATA": str(tmp_path / "empty")},
    )
    outputs = [process.communicate(timeout=TIMEOUT) for process in (wrong, mnist)]
    assert [wrong.returncode, mnist.returncode] == [1, 1]
    assert_message(
        outputs[0],
        "error: Cannot use this configuration: 2 value(s) do not fit",
        "trainer.num_epochs: 'four' is not int",
        "trainer.precision: 7 is not str",
    )
    assert_message(
        outputs[1],
        "error: Cannot load mnist: there are no idx files in ",
        f"Run: python data/download.py mnist --root {tmp_path / 'empty'}",
    )


@pytest.fixture
def run_here(commands, monkeypatch, capsys):
    """`main.py` in this process, which is quicker; returns what it says as it ends."""
    monkeypatch.chdir(FOLDER)

    def run(name: str, *overrides: str) -> str:
        place = f"hydra.run.dir={commands.folder / name}"
        quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")
        arguments = ["main.py", place, *quiet, *commands.common, *overrides]
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(FOLDER / "main.py"), run_name="__main__")
        assert ended.value.code not in (0, None)
        return capsys.readouterr().err + str(ended.value.code)

    yield run
    GlobalHydra.instance().clear()


@pytest.mark.parametrize(
    ("option", "parts"),
    [
        ("trainer.epochs=3", ["Could not override 'trainer.epochs'"]),
        ("encoder=ng_q", ["Could not find 'encoder/ng_q'", "flat_mlp", "ng_gnn", "ng_t"]),
        ("zoo.recipe.seed=7", ["made by another (seed was 0, now 7)", "Give another path"]),
        (
            "trainer.batch_size=0",
            ["error: Cannot use this configuration", "batch_size: 0 is not at least 1"],
        ),
        ("trainer.accelerator=abacus", ["Cannot train with accelerator=abacus", "Change"]),
    ],
)
def test_other_mistakes_too(run_here, commands, option, parts):
    assert_message(run_here("mistake", "encoder=flat_mlp", option, "restart=true"), *parts)
    assert not (commands.folder / "mistake" / "outcome.json").exists()


def test_other_settings_in_the_same_folder(run_here, first_output):
    said = run_here("first", "encoder=flat_mlp", "trainer.num_epochs=3")
    assert_message(said, "it was begun with other settings. Pass restart=true to begin again.")


def test_a_mistake_that_is_corrected_needs_no_restart(run_here, commands):
    """What failed before its first step has not begun: other settings take its folder."""
    for option, said in {
        "trainer.accelerator=abacus": "Cannot train with accelerator=abacus",
        "trainer.batch_size=0": "batch_size: 0 is not at least 1",
        "num_train=9999": "Cannot keep 9999 networks",
    }.items():
        assert_message(run_here("corrected", "encoder=flat_mlp", option), said)
    assert (commands.folder / "corrected" / "config.yaml").exists()


def test_results_of_other_columns(run_here, commands, first_output, tmp_path):
    """The run is kept, and recorded when the same command finds a file that fits."""
    other = tmp_path / "results.csv"
    other.write_text("task,score\n")
    (commands.folder / "first" / "recorded").unlink()
    said = run_here("first", "encoder=flat_mlp", f"results={other}")
    assert_message(said, f"Cannot use the results in {other}", "Move the file away")
    assert other.read_text() == "task,score\n"
    (commands.folder / "first" / "recorded").touch()


def kill_when(process: Forked, is_time: Callable[[], bool]) -> None:
    """SIGKILL at a moment that the files on disk tell."""
    end = time.monotonic() + TIMEOUT
    while not is_time() and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.kill()
    output = process.communicate(timeout=TIMEOUT)
    assert process.returncode == -signal.SIGKILL, output


def test_killed_while_fitting_and_while_training(tmp_path, one_thread):
    """Two kills later, the zoo and the outcome are those of a run that nothing interrupted."""
    recipe = dataclasses.replace(
        TINY_RECIPE, hidden_widths=(400, 2), num_train=300, num_steps=15, num_inits=1
    )
    path, run = tmp_path / "zoo.h5", tmp_path / "run"
    settings = TrainingSettings(num_epochs=60, batch_size=64, warmup_steps=100, accelerator="cpu")
    options = [
        f"hydra.run.dir={run}",
        f"results={tmp_path / 'results.csv'}",
        f"zoo.path={path}",
        *recipe_options(recipe),
        "encoder=flat_mlp",
        "encoder.model.hidden_dims=[8]",
        "trainer.num_epochs=60",
        "trainer.max_minutes=null",
    ]
    shards = Path(f"{path}.shards")
    kill_when(start(*options), (shards / "00000000.npz").exists)
    assert not path.exists()
    written = (shards / "00000000.npz").stat().st_mtime_ns
    metrics, last = run / "metrics.csv", run / "checkpoints" / "last.ckpt"
    kill_when(start(*options), last.exists)
    assert written < path.stat().st_mtime_ns
    assert not shards.exists()
    num_epochs = len(metrics.read_text().splitlines()) - 1
    assert 1 <= num_epochs < 60
    assert not (run / "outcome.json").exists()
    finish(start(*options))
    assert len(pd.read_csv(metrics)) == 60

    zoo = make_inr_zoo(recipe, tmp_path / "other.h5", is_compiled=False)
    assert torch.equal(zoo.params[0], Zoo.open(path).params[0])
    task = INRClassification(zoo)
    torch.manual_seed(0)
    model = FlatMLP(task.templates[0], task.statistics(), hidden_dims=(8,), out_dim=10)
    outcome = train_and_test(model, task, settings, tmp_path / "other")
    ours = json.loads((run / "outcome.json").read_text())
    assert (ours["val"], ours["test"], ours["best_epoch"]) == (
        outcome.val,
        outcome.test,
        outcome.best_epoch,
    )
    assert len(read_results(tmp_path / "results.csv")) == 6
