"""`data/train_cnns.py`, called as from a shell."""

import runpy
import sys
from pathlib import Path

import pytest
import torch

from nn_graphs.zoos.zoo import Zoo

SCRIPT = Path(__file__).parents[1] / "data" / "train_cnns.py"
TINY = "--num-epochs 1 --batch-size 16 --num-train 160 --num-test 20 --test-share 0.25"
SMALL = f"--kind small {TINY} --num-runs 8 --padding 1 --checkpoint-epochs 0"
WILD = f"--kind wild {TINY} --num-architectures 4 --num-seeds 2 --checkpoint-every 1"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def call(monkeypatch, capsys):
    """`call(arguments)`: exit code or what it ended with, output, errors."""

    def run(arguments: str, *more: str) -> tuple[int | str, str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments.split(), *more])
        code = 0
        with torch.compiler.set_stance("force_eager"):
            try:
                runpy.run_path(str(SCRIPT), run_name="__main__")
            except SystemExit as ended:
                code = ended.code
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize(("options", "count", "specs"), [(SMALL, 16, 2), (WILD, 8, 4)])
def test_tiny_zoos_and_again(call, tmp_path, options, count, specs):
    path = tmp_path / "zoo.h5"
    code, output, _ = call(options, "--output", str(path))
    zoo = Zoo.open(path)
    assert code == 0
    assert output.startswith(f"{path}: {count} networks of 8 runs, mean test accuracy at the end")
    assert (len(zoo), len(zoo.specs)) == (count, specs)
    before = path.stat().st_mtime_ns
    assert call(options, "--output", str(path))[1] == output
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (f"{SMALL} --num-seeds 2", "--num-seeds is an option of the other kind"),
        (f"{SMALL} --padding 0", "8 x 8 pixels"),
        (f"{SMALL} --size 3", "pool digits to 3 x 3"),
        (f"{SMALL} --num-train 9999", "there are 1437"),
        (f"{SMALL} --dataset cifar10 --data-root /nowhere", "data/download.py cifar10"),
    ],
)
def test_mistakes(call, tmp_path, options, said):
    ended, _, _ = call(options, "--output", str(tmp_path / "zoo.h5"))
    assert said in str(ended)
    assert not (tmp_path / "zoo.h5").exists()


def test_help_names_every_option(call):
    code, output, _ = call("--help")
    assert code == 0
    assert all(option in output for option in f"{SMALL} {WILD}".split() if option[:2] == "--")
