"""`python data/read_zoo.py`, called as from a shell."""

import runpy
import sys
from pathlib import Path

import pytest

from nn_graphs.networks.inr import inr_preset
from nn_graphs.zoos.readers.read_zoo import FORMATS
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.readers.published import mnist_path, write_fashion, write_mnist, write_nfn

SCRIPT = Path(__file__).parents[3] / "data" / "read_zoo.py"


@pytest.fixture
def read_zoo(monkeypatch, capsys):
    """`python data/read_zoo.py ...`: exit code, output, errors."""

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        monkeypatch.setattr(sys, "path", [*sys.path])
        code = 0
        try:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        except SystemExit as ended:
            code = ended.code
            if isinstance(code, str):  # Python prints it and exits with 1
                print(code, file=sys.stderr)
                code = 1
        return int(code or 0), *capsys.readouterr()

    return run


def test_help_names_formats_and_options(read_zoo):
    code, output, _ = read_zoo("--help")
    assert code == 0
    for word in (*FORMATS, "--folder", "--splits", "--num-augmented", "--module", "--strict"):
        assert word in output


def test_mnist_and_again(read_zoo, tmp_path):
    root = write_mnist(tmp_path)
    (root / mnist_path("val", 7, 1)).unlink()
    (root / mnist_path("test", 9, 3)).write_bytes(b"")
    path = tmp_path / "zoo.h5"
    command = ("--format", "dws_mnist", "--folder", root, "--output", path)
    code, output, _ = read_zoo(*command)
    assert code == 0
    assert output == (
        f"{path}: 4 networks read, 2 files skipped (1 missing on disk, 1 damaged or unreadable); "
        "architecture 2-5-5-1\n"
    )
    assert len(Zoo.open(path)) == 4
    before = path.stat().st_mtime_ns
    assert read_zoo(*command)[:2] == (0, output)
    assert path.stat().st_mtime_ns == before


def test_every_format(read_zoo, tmp_path):
    fashion, sirens = (
        write_fashion(tmp_path),
        write_nfn(tmp_path, images=[0, 1, 2], num_augmented=1),
    )
    (sirens / "labels.csv").write_text("path,label\nrandinit_smaller_1s/net1.pth,3\n")
    spec = tmp_path / "spec.json"
    spec.write_text(inr_preset("siren").make_spec((2, 5, 5, 1)).to_json())
    module = "tests.zoos.readers.published:NFNNetwork"
    commands = {
        "fashion": f"--format dws_fashion_mnist --folder {fashion}",
        "nfn": f"--format nfn --folder {sirens} --num-augmented 1",
        "preset": f"--format nfn --folder {sirens} --split-points 1 2 3 --preset siren "
        "--layer-layout 2 5 5 1",
        "spec": f"--format folder --folder {sirens} --spec {spec}",
        "module": f"--format folder --folder {sirens} --module {module} --arguments channels=1 "
        "--in-width 2",
    }
    sizes = {}
    for name, command in commands.items():
        code, _, errors = read_zoo(*command.split(), "--output", tmp_path / f"{name}.h5")
        assert code == 0, errors
        sizes[name] = len(Zoo.open(tmp_path / f"{name}.h5"))
    assert sizes == {"fashion": 6, "nfn": 6, "preset": 3, "spec": 1, "module": 1}
    assert Zoo.open(tmp_path / "preset.h5").table["split"].tolist() == ["train", "val", "test"]


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        ("--format dws", 2, "invalid choice: 'dws'"),
        ("--labels a.csv", 2, "--labels is no option of --format dws_mnist"),
        ("--num-augmented 3", 2, "--num-augmented is no option of --format dws_mnist"),
        ("--layer-layout 2 3 1", 2, "--layer-layout needs --preset"),
        ("--arguments a=1", 2, "need --module"),
        ("--module a:b --arguments a", 2, "takes name=value, not a"),
        ("--preset dws --spec a.json", 2, "not allowed with"),
        ("--folder nowhere", 1, "error: Cannot read nowhere as INRs of MNIST: there is no such"),
        ("--splits nowhere.json", 1, "there is no nowhere.json"),
        ("--spec nowhere.json", 1, "it is no NetworkSpec"),
        ("--module nowhere:make", 1, "No module named 'nowhere'"),
        ("--num-workers 0", 1, "Use one or more"),
        ("--strict", 1, "1 missing on disk"),
    ],
)
def test_mistakes(read_zoo, tmp_path, options, code, said):
    root = write_mnist(tmp_path)
    (root / mnist_path("val", 7, 1)).unlink()
    command = ("--format", "dws_mnist", "--folder", root, "--output", tmp_path / "zoo.h5")
    found = read_zoo(*command, *options.split())
    assert found[0] == code
    assert said in found[2]
    assert "Traceback" not in found[2]
    assert not (tmp_path / "zoo.h5").exists()
    if code == 1:
        assert len(found[2].splitlines()) == 1


def test_interrupted(read_zoo, tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("nn_graphs.zoos.readers.sources.parse_checkpoint", interrupt)
    path = tmp_path / "zoo.h5"
    command = ("--format", "dws_mnist", "--folder", write_mnist(tmp_path), "--output", path)
    assert read_zoo(*command) == (1, "", "interrupted; nothing was written\n")
    assert not path.exists()
