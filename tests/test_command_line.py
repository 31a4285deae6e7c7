"""`nn-graphs`: lists, cards and experiments; the wheel holds all that it needs."""

import subprocess
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra
from support.launch import EXPERIMENTS

from nn_graphs import command_line
from nn_graphs.configs import CONFIGS


@pytest.fixture
def call(monkeypatch, capsys):
    """`nn-graphs ...`: what it prints."""

    def run(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nn-graphs", *arguments])
        monkeypatch.setattr(sys, "path", [*sys.path])
        command_line.main()
        return capsys.readouterr().out

    yield run
    GlobalHydra.instance().clear()


def test_lists_and_cards(call):
    assert "mnist_10k\n" in call("list", "zoos")
    assert "ng_gnn\n" in call("list", "encoders")
    folders = {script.parent.name for script in EXPERIMENTS.glob("*/main.py")}
    assert set(call("list", "experiments").split()) == folders
    assert "licence" in call("describe", "digits")


def test_an_experiment(call):
    found = call("style_editing", "--cfg", "job", "target.edit=erosion")
    assert "edit: erosion" in found


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("inr_clasification",), "no 'inr_clasification', but 'inr_classification'"),
        (("describe", "digit"), "no 'digit', but 'digits'"),
    ],
)
def test_mistakes(call, arguments, said):
    with pytest.raises(SystemExit, match=said):
        call(*arguments)


def test_the_wheel_holds_configs_cards_and_experiments(tmp_path):
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", str(tmp_path / "lib")]
    command += ["egg_info", "--egg-base", str(tmp_path)]
    found = subprocess.run(command, cwd=EXPERIMENTS.parent, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    package = tmp_path / "lib" / "nn_graphs"
    for folder in (CONFIGS, CONFIGS.parent / "by_name"):
        for file in folder.rglob("*.yaml"):
            assert (package / file.relative_to(CONFIGS.parent)).is_file(), file
    for script in (*EXPERIMENTS.glob("*/main.py"), *EXPERIMENTS.glob("support/*.py")):
        assert (package / "experiments" / script.relative_to(EXPERIMENTS)).is_file(), script
    assert (package / "py.typed").is_file()
    assert list((package / "learned_optimizers" / "shipped").glob("*.safetensors"))
