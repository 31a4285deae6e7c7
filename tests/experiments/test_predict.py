"""A task and a recipe in a user's own file run in an experiment, by config alone."""

import json
import re
import runpy
import shlex
import sys

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from support.launch import EXPERIMENTS

from nn_graphs.results import read_results
from nn_graphs.zoos.zoo import Zoo
from tests.conftest import TINY_RECIPE
from tests.processes import start_script

MAIN = EXPERIMENTS / "inr_classification" / "main.py"
MODULE = f'''
import dataclasses

import torch
from matplotlib.figure import Figure

from nn_graphs.tasks import Task
from {type(TINY_RECIPE).__module__} import INRRecipe


class SpreadOfWeights(Task):
    """Predicts how far the weights of a network spread."""

    name = "spread_of_weights"
    metric = "closeness"
    unit = " dB"
    digits = 2
    out_dim = 1

    def __init__(self, zoo, factor=1.0):
        self.factor = factor
        super().__init__(zoo)

    def labels(self):
        return self.factor * self.zoo.params[0].std(dim=1)

    def loss(self, outputs, labels):
        return (outputs.squeeze(-1) - labels).square().mean()

    def metrics(self, outputs, labels):
        loss = self.loss(outputs, labels)
        return {{"closeness": -10 * loss.log10().numpy()[()], "loss": loss.item()}}

    def figures(self, outputs, labels, *, title):
        figure = Figure()
        figure.subplots().plot(labels, outputs, ".")
        return {{"spreads": figure}}


@dataclasses.dataclass(frozen=True)
class ShortFits(INRRecipe):
    num_steps: int = 7
'''
TASK = """
defaults:
  - predict
  - encoder: statnn
  - zoo: short_fits
  - trainer: short
  - augmentation: none
  - sweep: none
  - _self_

task: spreads
target:
  _target_: user_module.SpreadOfWeights
  _partial_: true
  factor: 2.0
"""
ZOO = """
name: short_fits
path: ${data_root}/short_fits.h5
recipe:
  _target_: user_module.ShortFits
  hidden_widths: [4, 4]
  num_train: 16
  num_val: 8
  num_test: 8
"""
SHORT = (
    "encoder.model.hidden_dims=[8]",
    "trainer.num_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.max_minutes=null",
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "zoo").mkdir()
    for name, text in {
        "user_module.py": MODULE,
        "my_task.yaml": TASK,
        "zoo/short_fits.yaml": ZOO,
    }.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def assert_reported(folder, *, zoo: str, task: str) -> None:
    outcome = json.loads((folder / "run" / "outcome.json").read_text())
    rows = read_results(folder / "results.csv").set_index("metric")
    assert rows.loc["test/closeness", "value"] == round(outcome["test"]["closeness"], 6)
    assert (set(rows["task"]), set(rows["zoo"])) == ({task}, {zoo})
    for figure in ("run/learning_curves.png", "run/spreads.png", f"scores_{zoo}.png"):
        assert (folder / figure).read_bytes().startswith(b"\x89PNG")


def test_own_configs_beside_an_own_file(folder):
    """The zoo is made by the user's recipe, and the user's task is predicted on it."""
    options = [
        *("--config-dir", str(folder), "--config-name", "my_task"),
        *(f"data_root={folder}", f"hydra.run.dir={folder / 'run'}"),
        *(f"results={folder / 'results.csv'}", *SHORT),
    ]
    settings = {"TORCH_COMPILE_DISABLE": "1", "OMP_NUM_THREADS": "1"}
    process = start_script(MAIN, *options, folder=EXPERIMENTS, environment=settings)
    output = process.communicate()
    assert process.returncode == 0, output
    assert_reported(folder, zoo="short_fits", task="spreads")
    outcome = json.loads((folder / "run" / "outcome.json").read_text())
    assert f"closeness {outcome['val']['closeness']:.2f} dB on val" in output
    (command,) = set(read_results(folder / "results.csv")["command"])
    assert shlex.split(command)[2:6] == options[:4]
    zoo = Zoo.open(folder / "short_fits.h5")
    assert zoo.metadata["recipe"]["num_steps"] == 7
    spreads = zoo.params[0].std(dim=1)[zoo.indices("test")]
    labels = np.load(folder / "run" / "test_outputs.npz")["labels"]
    np.testing.assert_allclose(labels, 2 * spreads, rtol=1e-6)


@pytest.fixture
def run_here(folder, tiny_zoo_path, monkeypatch, one_thread):
    """`python main.py ...` in this process, started in the user's folder, on the tiny zoo."""
    recipe = [
        f"zoo.recipe.{name}={list(value) if isinstance(value, tuple) else value}".replace(" ", "")
        for name, value in vars(TINY_RECIPE).items()
        if value is not None
    ]
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    places = [f"zoo.path={tiny_zoo_path}", f"hydra.run.dir={folder / 'run'}"]
    places += [f"results={folder / 'results.csv'}"]
    quiet = ("hydra/job_logging=none", "hydra/hydra_logging=none")

    def run(*options: str) -> None:
        arguments = ["main.py", *options, *recipe, *places, *quiet, *SHORT]
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_path(str(MAIN), run_name="__main__")

    yield run
    for name in ("user_module", "mine"):
        sys.modules.pop(name, None)
    GlobalHydra.instance().clear()


def test_own_task_by_an_option(folder, run_here):
    """It lies where the command is started; of an own recipe, a zoo that is there is opened."""
    own = ("target._target_=user_module.SpreadOfWeights", "~target.data_root", "+target.factor=3")
    recipe = "zoo.recipe._target_=user_module.ShortFits"
    run_here(*own, recipe, "encoder=statnn", "num_train=20")
    assert_reported(folder, zoo="digits_inrs", task="inr_classification")
    (command,) = set(read_results(folder / "results.csv")["command"])
    assert set(own) < set(shlex.split(command))


def test_example_of_the_readme(folder, run_here):
    readme = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    for language, name in (("python", "mine.py"), ("yaml", "spread.yaml")):
        (block,) = re.findall(rf"```{language}\n(.*?)```", readme, re.DOTALL)
        (folder / name).write_text(block)
    run_here("--config-dir", str(folder), "--config-name", "spread")
    rows = read_results(folder / "results.csv").set_index("metric")
    assert rows.loc["test/closeness", "value"] < 0
    assert set(rows["task"]) == {"spread"}
    assert (folder / "run" / "predictions.png").exists()
