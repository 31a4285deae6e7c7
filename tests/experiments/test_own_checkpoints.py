"""Checkpoints of two architectures, one with batch norm, to a score: one command and one CSV."""

import runpy
import subprocess
import sys

import pandas as pd
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from support.launch import EXPERIMENTS

from nn_graphs.results import read_results
from nn_graphs.zoos.zoo import Zoo

MAIN = EXPERIMENTS / "inr_classification" / "main.py"
NETS = """
import torch
from torch import nn


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.out = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, images):
        return self.out(torch.relu(self.conv(images)).mean((2, 3)))


class WithNorm(Small):
    def __init__(self):
        super().__init__()
        self.norm, self.pool = nn.BatchNorm2d(4), nn.MaxPool2d(2)

    def forward(self, images):
        return self.out(self.pool(torch.relu(self.norm(self.conv(images)))).mean((2, 3)))
"""
COMMAND = (
    *("zoo=folder", "zoo.source.folder=mine", "zoo.architecture.input_shape=[1,8,8]"),
    *("zoo.architecture.modules=[own_nets:Small,own_nets:WithNorm]", "encoder=ng_gnn_mixed_small"),
)
SHORT = (
    *("trainer.num_epochs=2", "trainer.accelerator=cpu", "trainer.batch_size=8"),
    "trainer.max_minutes=null",
)
QUIET = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.run.dir=run")


@pytest.fixture
def folder(tmp_path, monkeypatch, one_thread):
    """A user's folder: `own_nets.py`, checkpoints as their training script left them, a CSV."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "own_nets.py").write_text(NETS)
    names = runpy.run_path(str(tmp_path / "own_nets.py"))
    rows = []
    for number in range(24):
        torch.manual_seed(number)
        module = names["WithNorm" if number % 2 else "Small"]()
        label = "cat" if number // 2 % 2 else "dog"
        torch.nn.init.constant_(module.out.bias, float(label == "cat"))
        content = {"epoch": 3, "model": module.state_dict(), "optimizer": {"state": {}}}
        torch.save(content, tmp_path / "mine" / f"net{number}.pth.tar")
        split = "train" if number < 12 else "val" if number < 18 else "test"
        rows.append({"path": f"net{number}.pth.tar", "label": label, "split": split})
    pd.DataFrame(rows).to_csv(tmp_path / "mine" / "labels.csv", index=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("own_nets", None)
    GlobalHydra.instance().clear()


def run(monkeypatch, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["main.py", *options, *SHORT, *QUIET])
    runpy.run_path(str(MAIN), run_name="__main__")


def test_one_command_one_csv_a_score(folder, monkeypatch):
    run(monkeypatch, *COMMAND)
    rows = read_results(folder / "outputs" / "results.csv").set_index("metric")
    assert 0 <= rows.loc["test/accuracy", "value"] <= 100
    assert set(rows["zoo"]) == {"folder"}
    for figure in ("run/learning_curves.png", "run/confusion.png"):
        assert (folder / figure).exists()
    zoo = Zoo.open(folder / "mine" / "zoo.h5")
    assert len(zoo.specs) == 2
    assert zoo.table["label"].tolist()[:4] == ["dog", "dog", "cat", "cat"]


def test_the_zoo_opens_in_another_process_without_the_modules(folder, monkeypatch):
    """And any experiment takes its file."""
    run(monkeypatch, *COMMAND)
    (folder / "own_nets.py").unlink()
    text = "from nn_graphs.zoos import Zoo; print([len(g) > 0 for g in Zoo.open('mine/zoo.h5')])"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str([True] * 24)
    GlobalHydra.instance().clear()
    sys.modules.pop("own_nets", None)
    own = ("zoo=file", "zoo.path=mine/zoo.h5", "encoder=statnn", "encoder.model.hidden_dims=[8]")
    run(monkeypatch, *own, "restart=true")
    rows = read_results(folder / "outputs" / "results.csv")
    assert set(rows["zoo"]) == {"folder", "file"}


def test_a_folder_that_is_not_given(folder, monkeypatch, capsys):
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, "zoo=folder")
    said = capsys.readouterr().err + str(ended.value.code)
    assert "zoo.architecture.modules, zoo.source.folder must be given" in said
    assert "Traceback" not in said
