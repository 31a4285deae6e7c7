"""The how-to pages of docs/, file by file and command by command, as they are written."""

import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from support.launch import EXPERIMENTS

from nn_graphs.results import read_results

PAGES = EXPERIMENTS.parent / "docs" / "how_to"
QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none", "trainer.max_minutes=null")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """One folder for all pages, as one user has it."""
    return tmp_path_factory.mktemp("user")


@pytest.mark.parametrize(
    ("name", "task", "model"),
    [
        ("own_zoo", "cnn_generalization", "statnn"),
        ("own_encoder", "cnn_generalization", "two_layers"),
        ("own_task", "largest_weight", "statnn"),
        ("own_checkpoints", "inr_classification", "ng_gnn_mixed_small"),
    ],
)
def test_page(name, task, model, place, monkeypatch, one_thread):
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    for path, text in re.findall(r"```\w+\n# (\S+)\n(.*?)```", page, re.DOTALL):
        (place / path).parent.mkdir(exist_ok=True)
        (place / path).write_text(text)
    commands = [shlex.split(line) for line in re.findall(r"^    (python .*)$", page, re.MULTILINE)]
    for _, script, *options in commands:
        script = script.replace("<repository>", str(EXPERIMENTS.parent))
        extra = QUIET if script.endswith("main.py") else ()
        monkeypatch.setattr(sys, "argv", [script, *options, *extra])
        runpy.run_path(script, run_name="__main__")
        GlobalHydra.instance().clear()
    for own in set(sys.modules) - before:
        if own.startswith(("my_", "nets")):
            del sys.modules[own]
    rows = read_results(place / "outputs" / "results.csv")
    found = rows[(rows["task"] == task) & (rows["model"] == model)]
    assert found["metric"].str.startswith("test/").any()
    assert found["value"].notna().all()
