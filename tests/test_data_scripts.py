"""The scripts under data/, called as from a shell."""

import runpy
import signal
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pooch
import pytest
import torch

from nn_graphs.download import DOWNLOADS
from nn_graphs.errors import NNGraphsError
from nn_graphs.tasks.fitted_images import find_fitted_images
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.zoos.makers import inr_zoos
from nn_graphs.zoos.zoo import Zoo
from tests.download.server import make_archive, make_download, running_server
from tests.processes import start_program

DATA = Path(__file__).parents[1] / "data"
SCRIPT = DATA / "fit_inrs.py"
TINY = "--num-train 6 --num-val 2 --num-test 3 --num-inits 2 --hidden-widths 5 4 --num-steps 10"

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def call(monkeypatch, capsys):
    """`call(script, ...)` as `python script ...`: exit code, output, errors."""

    def run(script: Path, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(script), *arguments])
        code = 0
        try:
            runpy.run_path(str(script), run_name="__main__")
        except SystemExit as ended:
            code, said = ended.code, ended.code
            if isinstance(said, str):  # Python prints it and exits with 1
                print(said, file=sys.stderr)
                code = 1
        return int(code or 0), *capsys.readouterr()

    return run


@pytest.fixture
def fit_inrs(call):
    """`python data/fit_inrs.py ...` without a compiler."""
    with torch.compiler.set_stance("force_eager"):
        yield partial(call, SCRIPT)


@pytest.fixture
def server(monkeypatch):
    with running_server(monkeypatch) as server:
        yield server


@pytest.fixture
def download(call):
    """`python data/download.py ...`."""
    level = pooch.get_logger().level
    yield partial(call, DATA / "download.py")
    pooch.get_logger().setLevel(level)


def test_help_names_every_option(fit_inrs):
    code, output, _ = fit_inrs("--help")
    assert code == 0
    for option in (*TINY.split()[::2][:4], "--dataset", "--preset", "--output", "--data-root"):
        assert option in output
    assert "the same command goes on" in output


def test_tiny_zoo_and_again(fit_inrs, tmp_path):
    path = tmp_path / "zoo.h5"
    code, output, _ = fit_inrs("--output", str(path), *TINY.split(), "--seed", "3")
    assert code == 0
    zoo = Zoo.open(path)
    assert output == f"{path}: 17 INRs, mean PSNR {zoo.table['psnr'].mean():.1f} dB\n"
    assert zoo.table["split"].value_counts().to_dict() == {"train": 12, "val": 2, "test": 3}
    assert zoo.spec.layer_layout == (2, 5, 4, 1)
    assert zoo.metadata["recipe"]["seed"] == 3
    assert zoo.table["step"].max() == 10
    before = path.stat().st_mtime_ns
    assert fit_inrs("--output", str(path), *TINY.split(), "--seed", "3") == (0, output, "")
    assert path.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--preset siren2", 2, "invalid choice: 'siren2' (choose from"),
        ("--dataset imagenet", 2, "invalid choice: 'imagenet' (choose from"),
        ("--num-train 6.5", 2, "invalid int value: '6.5'"),
        ("--num-train 2000", 1, "it has 1437 images for training and validation"),
        ("--num-test 361", 1, "360 for testing. Ask for fewer."),
        ("--num-train 1437", 1, "choose 1437 training, 2 validation and 3 test images of digits"),
        ("--dataset mnist --data-root /nowhere", 1, "Run: python data/download.py mnist --root"),
    ],
)
def test_mistakes(fit_inrs, tmp_path, options, code, said):
    path = tmp_path / "zoo.h5"
    found = fit_inrs("--output", str(path), *TINY.split(), *options.split())
    assert found[0] == code
    assert said in found[2]
    assert list(tmp_path.iterdir()) == []


def test_own_images_and_their_change(fit_inrs, tmp_path):
    images, path = tmp_path / "own.npz", tmp_path / "zoo.h5"
    pixels = np.arange(20 * 36, dtype=np.uint16).reshape(20, 6, 6).astype(np.uint8)
    np.savez(images, images=pixels, labels=np.arange(20) % 3)
    command = ("--output", str(path), *TINY.split(), "--images", str(images))
    assert fit_inrs(*command)[0] == 0
    zoo = Zoo.open(path)
    task = INRClassification(zoo)
    assert task.class_names == ("0", "1", "2")
    assert set(task.figures(torch.eye(3)[:3], torch.arange(3))) >= {"renderings"}
    assert find_fitted_images(zoo).images.images.shape == (20, 6, 6, 1)
    np.savez(images, images=255 - pixels, labels=np.arange(20) % 3)
    assert "its zoo was made by another (contents was" in fit_inrs(*command)[2]
    with pytest.raises(NNGraphsError, match="not those that the zoo was made from"):
        find_fitted_images(zoo)


def test_output_is_asked_for(fit_inrs):
    code, _, errors = fit_inrs("--dataset", "digits")
    assert code == 2
    assert "--output" in errors


def test_zoo_of_another_recipe_is_left_alone(fit_inrs, tmp_path):
    path = tmp_path / "zoo.h5"
    fit_inrs("--output", str(path), *TINY.split())
    content = path.read_bytes()
    code, _, errors = fit_inrs("--output", str(path), *TINY.split(), "--seed", "4")
    assert code == 1
    assert "Give another path, or delete the file." in errors
    assert path.read_bytes() == content


def test_interrupted(fit_inrs, monkeypatch, tmp_path):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nn_graphs.zoos.makers.inr_zoos.fit_networks", interrupt)
    found = fit_inrs("--output", str(tmp_path / "zoo.h5"), *TINY.split())
    assert found == (1, "", "interrupted; the same command goes on from here\n")


def test_killed_between_shards_and_started_again(fit_inrs, monkeypatch, tmp_path):
    """Nothing that is finished is fitted again, and the zoo is that of one run."""
    options = [*TINY.replace("5 4", "400 2").split(), "--num-train", "260"]  # chunks of 15
    script = f"""
import os, runpy, signal, sys
from nn_graphs.zoos.makers.shards import Shards
write = Shards.write
def write_and_die(*args):
    write(*args)
    os.kill(os.getpid(), signal.SIGKILL)
Shards.write = write_and_die
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
    killed = start_program(
        *(script, *options, "--output", str(tmp_path / "zoo.h5")),
        environment={"TORCH_COMPILE_DISABLE": "1", "OMP_NUM_THREADS": "1"},
    )
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    shards = [file.name for file in (tmp_path / "zoo.h5.shards").glob("*.npz")]
    assert shards == ["00000000.npz"]  # of 240
    seen, fit = [], inr_zoos.fit_networks

    def counting_fit(loss_fn, params, data, **settings):
        seen.append(len(params))
        return fit(loss_fn, params, data, **settings)

    monkeypatch.setattr(inr_zoos, "fit_networks", counting_fit)
    assert fit_inrs(*options, "--output", str(tmp_path / "zoo.h5"))[0] == 0
    assert sum(seen) == 525 - 240
    assert fit_inrs(*options, "--output", str(tmp_path / "other.h5"))[0] == 0
    zoos = [Zoo.open(tmp_path / name) for name in ("zoo.h5", "other.h5")]
    assert torch.equal(zoos[0].params[0], zoos[1].params[0])


def test_downloads_are_listed(download):
    code, output, errors = download("--list")
    lines = output.splitlines()
    assert (code, errors) == (0, "")
    assert [line.split()[0] for line in lines] == list(DOWNLOADS)
    assert lines[0].split()[:5] == ["mnist", "12", "MB", "CC", "BY-SA"]
    assert "? by hand not stated" in " ".join(lines[list(DOWNLOADS).index("siren_mnist")].split())


def test_a_download_is_reported(download, server, tmp_path, monkeypatch):
    server.files["zoo.tar"] = make_archive("zoo.tar", {"zoo/net.pth": b"weights"})
    tiny = make_download(server.url("zoo.tar"), known_hash=None, unpack=True)
    monkeypatch.setitem(DOWNLOADS, "tiny", tiny)
    code, output, errors = download("tiny", "--root", str(tmp_path))
    assert (code, errors) == (0, "")
    assert output == f"Files:    {tmp_path / 'tiny'}\nLicence:  none\nCite:     none\n"
    assert (tmp_path / "tiny/zoo/net.pth").read_bytes() == b"weights"


def test_a_download_by_hand(download, tmp_path):
    code, output, errors = download("siren_mnist", "--root", str(tmp_path))
    path = tmp_path / "siren_mnist/siren_mnist_wts.tar"
    assert (code, output) == (1, "")
    assert errors.startswith("error: Cannot download siren_mnist_wts.tar: ")
    assert f"save siren_mnist_wts.tar as {path}, and ask again." in errors

    path.write_bytes(make_archive(path.name, {"siren_mnist_wts/randinit_smaller_3s/net7.pth": b""}))
    code, output, errors = download("siren_mnist", "--root", str(tmp_path))
    assert (code, errors) == (0, "")
    assert (path.parent / "siren_mnist_wts/randinit_smaller_3s/net7.pth").exists()
    assert (path.parent / "checksums.json").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give a name, or --list"),
        (("imagenet",), 1, "there is no 'imagenet', but 'tiny_imagenet'. Choose one of mnist, "),
    ],
)
def test_mistakes_of_downloads(download, arguments, code, said):
    found = download(*arguments)
    assert found[0] == code
    assert said in found[2]


def test_a_download_is_interrupted(download, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nn_graphs.download.download_registry.fetch_files", interrupt)
    found = download("mnist", "--root", str(tmp_path))
    assert found == (1, "", "interrupted; the same command goes on from here\n")
