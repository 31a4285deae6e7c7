"""Files that have changed since a zoo was read from them are noticed."""

import shutil
import sys
import zipfile
from types import ModuleType

import pandas as pd
import pytest
import torch
from torch import nn

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.readers.labelled_folder import Folder
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo
from nn_graphs.zoos.readers.source_contents import content_fingerprint, file_fingerprint
from tests.zoos.readers.published import save

SPEC = NetworkSpec.mlp((2, 3, 1), activation=Activation("tanh"))


def state_of(number: int) -> dict[str, torch.Tensor]:
    return dict(SPEC.parameters.unflatten(torch.full((SPEC.num_params,), float(number))))


def write_labels(root, labels) -> None:
    table = pd.DataFrame({"path": [f"{n}.pth" for n in range(len(labels))], "label": labels})
    table.to_csv(root / "labels.csv", index=False)


@pytest.fixture
def folder(tmp_path):
    """Three networks, read into `zoo.h5`."""
    root = tmp_path / "mine"
    for number in range(3):
        save(state_of(number), root / f"{number}.pth")
    write_labels(root, [0, 1, 0])
    assert len(read(root, tmp_path)) == 3
    return root


def read(root, tmp_path):
    return open_or_read_zoo(Folder(root), tmp_path / "zoo.h5", architecture=SPEC)


def change_labels(root):
    write_labels(root, [0, 1, 1])


def add_a_network(root):
    save(state_of(3), root / "3.pth")
    write_labels(root, [0, 1, 0, 1])


def fit_again(root):
    save(state_of(7), root / "1.pth")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (
            change_labels,
            "the list of files, with their labels, splits and architectures, has changed",
        ),
        (
            add_a_network,
            "the list of files, with their labels, splits and architectures, has changed",
        ),
        (fit_again, "the contents of files have changed"),
    ],
)
def test_changes_are_an_error(folder, tmp_path, raises_saying, change, found):
    change(folder)
    with raises_saying(asked=str(tmp_path / "zoo.h5"), found=found, do="Delete it"):
        read(folder, tmp_path)


def test_a_changed_architecture_is_an_error(tmp_path, raises_saying):
    """Activations are in no checkpoint, so that nothing else would tell."""
    root = tmp_path / "mine"
    save(state_of(0), root / "0.pth")
    (root / "labels.csv").write_text("path,label,net\n0.pth,1,net.json\n")
    (root / "net.json").write_text(SPEC.to_json())
    folder = Folder(root, architecture_column="net")
    open_or_read_zoo(folder, tmp_path / "zoo.h5")
    open_or_read_zoo(folder, tmp_path / "zoo.h5")
    other = NetworkSpec.mlp((2, 3, 1), activation=Activation("relu"))
    (root / "net.json").write_text(other.to_json())
    with raises_saying(asked="zoo.h5", found="architectures, has changed", do="Delete it"):
        open_or_read_zoo(folder, tmp_path / "zoo.h5")


def test_a_changed_module_is_an_error(tmp_path, raises_saying, monkeypatch, caplog):
    module = ModuleType("nets_of_a_user")
    module.make = lambda: nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    monkeypatch.setitem(sys.modules, "nets_of_a_user", module)
    root = tmp_path / "mine"
    save(dict(module.make().state_dict()), root / "0.pth")
    (root / "labels.csv").write_text("path,label\n0.pth,1\n")
    given = {"architecture": ModuleArchitecture("nets_of_a_user:make")}
    open_or_read_zoo(Folder(root), tmp_path / "zoo.h5", **given)
    open_or_read_zoo(Folder(root), tmp_path / "zoo.h5", **given)
    module.make = lambda: nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with raises_saying(asked="nets_of_a_user:make", found="another architecture", do="Delete it"):
        open_or_read_zoo(Folder(root), tmp_path / "zoo.h5", **given)
    del module.make  # what was read stays of use
    assert len(open_or_read_zoo(Folder(root), tmp_path / "zoo.h5", **given)) == 1
    assert "is not compared with its module" in caplog.text


def test_a_copy_of_the_folder_is_the_same(folder, tmp_path):
    for number in range(3):
        save(state_of(number), folder / f"{number}.pth")  # anew, at another time
    (tmp_path / "other").mkdir()
    moved = shutil.move(folder, tmp_path / "other" / "mine")
    assert len(read(moved, tmp_path)) == 3


def test_files_are_needed_no_more(folder, tmp_path, caplog):
    shutil.rmtree(folder)
    assert len(read(folder, tmp_path)) == 3
    folder.mkdir()
    assert len(read(folder, tmp_path)) == 3
    assert "is not compared with the files it was read from" in caplog.text


def test_changes_in_an_archive(folder, tmp_path, raises_saying):
    def pack(number: int):
        save(state_of(number), folder / "1.pth")
        with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
            for path in sorted(folder.iterdir()):
                archive.write(path, path.name)

    (tmp_path / "zoo.h5").unlink()
    pack(1)
    assert len(read(tmp_path / "mine.zip", tmp_path)) == 3
    assert len(read(tmp_path / "mine.zip", tmp_path)) == 3
    pack(9)
    with raises_saying(asked="mine.zip", found="contents of files", do="Delete it"):
        read(tmp_path / "mine.zip", tmp_path)


@pytest.mark.parametrize("content", [b"", b"abc"])
def test_fingerprints_of_files_and_of_their_bytes(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert file_fingerprint(tmp_path / "a") == content_fingerprint(content)
    assert content_fingerprint(OSError("gone")) != content_fingerprint(content)
