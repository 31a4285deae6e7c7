"""`nn-graphs`: lists, cards and experiments; the wheel holds all that it needs."""

import importlib.util
import subprocess
import sys
import zipfile

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


def test_the_page_of_cards_is_what_the_command_prints(call):
    page = CONFIGS.parents[1] / "docs" / "zoos.md"
    assert page.read_text(encoding="utf-8") == call("cards")


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


@pytest.mark.slow
def test_a_wheel_of_the_source_archive_is_whole_and_keeps_to_the_index(tmp_path):
    """From `git archive`, as a release is made; `twine check` where it is installed."""
    source = tmp_path / "source"
    source.mkdir()
    root = EXPERIMENTS.parent
    packed = subprocess.run(["git", "archive", "HEAD"], cwd=root, capture_output=True, check=True)
    subprocess.run(["tar", "x", "-C", str(source)], input=packed.stdout, check=True)
    python = [sys.executable]
    subprocess.run([*python, "setup.py", "-q", "sdist"], cwd=source, check=True)
    (archive,) = (source / "dist").glob("*.tar.gz")
    flags = ["-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    subprocess.run([*python, "-m", "pip", "wheel", *flags, str(archive)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "nn_graphs/experiments/inr_classification/main.py" in names
    assert "nn_graphs/configs/encoder/ng_gnn.yaml" in names
    if importlib.util.find_spec("twine"):
        subprocess.run([*python, "-m", "twine", "check", str(archive), str(wheel)], check=True)
