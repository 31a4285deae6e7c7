"""INR zoos of Navon et al.: exact folders, split files of both schemas, and their traps."""

import json

import pytest
import torch

from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.zoos.readers.dws_inrs import DWSFashionMnist, DWSMnist
from nn_graphs.zoos.readers.read_report import Reason
from nn_graphs.zoos.readers.read_zoo import read_zoo
from tests.zoos.readers.published import (
    FASHION_IMAGES,
    LAYOUT,
    MNIST_IMAGES,
    DWSNetwork,
    fashion_path,
    mnist_path,
    numbered,
    rewrite_fashion_splits,
    save,
    write_fashion,
    write_mnist,
)

MNIST_ROWS = [
    (label, split, image + 60_000 * (split == "test"))
    for split, images in MNIST_IMAGES.items()
    for label, image in images
]
FASHION_ROWS = [
    (image % 10, split, image + 60_000 * (split == "test"))
    for split, images in FASHION_IMAGES.items()
    for image in images
]


def rows(zoo) -> list[tuple[int, str, int]]:
    return list(zip(zoo.table["label"], zoo.table["split"], zoo.table["source_id"], strict=True))


def edit_json(path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_mnist(tmp_path):
    zoo, report = read_zoo(DWSMnist(write_mnist(tmp_path)))
    assert rows(zoo) == MNIST_ROWS
    assert zoo.table["label"].dtype == "int64"
    assert zoo.table["run"].tolist() == list(range(6))
    assert zoo.table["view"].tolist() == [0] * 6
    assert zoo.spec == inr_preset("dws").make_spec(LAYOUT)
    assert zoo.params[0][:, 0].tolist() == [12, 3, 59_999, 1, 100_003, 100_000]
    assert (report.num_read, report.skips) == (6, ())
    assert zoo.metadata["recipe"]["dataset"] == "mnist"
    assert zoo.metadata["recipe"]["preset"] == "dws"
    assert zoo.metadata["image_size"] == [28, 28]


@pytest.mark.parametrize("prefix", ["", "/home/me/dataset/mnist-inrs/", "../x/mnist-inrs/"])
@pytest.mark.parametrize("folder", [".", "mnist-inrs"])
def test_mnist_paths_of_any_machine(tmp_path, prefix, folder):
    write_mnist(tmp_path, prefix=prefix)
    zoo, report = read_zoo(DWSMnist(str(tmp_path / folder)))
    assert rows(zoo) == MNIST_ROWS
    assert report.skips == ()


def test_outputs_are_those_of_the_published_module(tmp_path):
    zoo, _ = read_zoo(DWSMnist(write_mnist(tmp_path)))
    preset = inr_preset("dws")
    coordinates = preset.coordinates(3, 4)
    columns, lines = torch.meshgrid(
        torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 3), indexing="xy"
    )
    assert torch.equal(coordinates, torch.stack([columns, lines], dim=-1).reshape(-1, 2))
    outputs = stacked_forward(zoo.spec, zoo.params[0], coordinates)
    for row, path in enumerate(zoo.table["path"]):
        network = DWSNetwork()
        network.load_state_dict(torch.load(tmp_path / "mnist-inrs" / path, weights_only=True))
        torch.testing.assert_close(outputs[row], network(coordinates))


def test_labels_that_contradict_their_folder(tmp_path):
    root = write_mnist(tmp_path)

    def change(splits):
        splits["train"]["label"][1] = "5"

    edit_json(tmp_path / "mnist_splits.json", change)
    zoo, report = read_zoo(DWSMnist(root))
    assert rows(zoo) == [row for row in MNIST_ROWS if row != (0, "train", 3)]
    assert [skip.reason for skip in report.skips] == [Reason.LABEL]
    assert "label is 5 in the split file, 0 in its folder's name" in report.skips[0].detail


def test_missing_unlisted_twice_and_strange_names(tmp_path):
    root = write_mnist(tmp_path)
    (root / mnist_path("train", 7, 12)).unlink()
    save(numbered(DWSNetwork(), 5), root / mnist_path("train", 1, 5))
    save(numbered(DWSNetwork(), 5), root / "mnist_png_training_1_6/checkpoints/._model_final.pth")

    def change(splits):
        splits["val"]["path"] += [mnist_path("train", 0, 3), "mnist_png_training_1_x/a/b.pth"]
        splits["val"]["label"] += ["0", "1"]

    edit_json(tmp_path / "mnist_splits.json", change)
    zoo, report = read_zoo(DWSMnist(root))
    assert rows(zoo) == MNIST_ROWS[1:]
    assert {skip.reason: skip.path for skip in report.skips} == {
        Reason.MISSING: root / mnist_path("train", 7, 12),
        Reason.UNLISTED: root / mnist_path("train", 1, 5),
        Reason.TWICE: root / mnist_path("train", 0, 3),
        Reason.NAME: root / "mnist_png_training_1_x/a/b.pth",
    }
    assert len(report.skips) == 4
    assert zoo.metadata["report"]["skipped"] == report.counts()


@pytest.mark.parametrize("schema", ["original", "rewritten"])
def test_fashion_mnist(tmp_path, schema):
    root = write_fashion(tmp_path)
    splits = rewrite_fashion_splits(tmp_path) if schema == "rewritten" else None
    zoo, report = read_zoo(DWSFashionMnist(root, splits=splits))
    assert rows(zoo) == FASHION_ROWS
    assert zoo.table["label"].dtype == "int64"
    assert report.skips == ()
    expected = [i + 100_000 * (s == "test") for s, images in FASHION_IMAGES.items() for i in images]
    assert zoo.params[0][:, 0].tolist() == expected
    assert zoo.spec == inr_preset("dws").make_spec(LAYOUT)
    assert zoo.metadata["recipe"]["dataset"] == "fashion_mnist"


@pytest.mark.parametrize(
    ("label", "detail"),
    [(None, "its entry label is None"), (3.5, "label is 3.5"), (5, "is 5, in the split file 1")],
)
def test_fashion_label_that_is_not_clear(tmp_path, label, detail):
    root = write_fashion(tmp_path)
    extra = {} if label is None else {"label": label}
    save({**numbered(DWSNetwork(), 1), **extra}, root / fashion_path("train", 31))
    zoo, report = read_zoo(DWSFashionMnist(root, splits=rewrite_fashion_splits(tmp_path)))
    assert rows(zoo) == [row for row in FASHION_ROWS if row != (1, "train", 31)]
    assert [skip.reason for skip in report.skips] == [Reason.LABEL]
    assert detail in report.skips[0].detail


def test_fashion_label_as_tensor(tmp_path):
    root = write_fashion(tmp_path)
    state = {**numbered(DWSNetwork(), 1), "label": torch.tensor(1)}
    save(state, root / fashion_path("train", 31))
    zoo, report = read_zoo(DWSFashionMnist(root))
    assert (rows(zoo), report.skips) == (FASHION_ROWS, ())


@pytest.mark.parametrize("source", [DWSMnist, DWSFashionMnist])
def test_folder_is_not_there(tmp_path, raises_saying, source):
    with raises_saying(asked="INRs of", found="no such folder", do="Unpack"):
        read_zoo(source(tmp_path / "nowhere"))
    with raises_saying(asked=str(tmp_path), found="it holds no", do="Unpack"):
        read_zoo(source(tmp_path))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "there is no"),
        ("{", "no lists of paths"),
        ("[]", "no lists of paths"),
        ('{"train": {"path": ["a"], "label": []}}', "no lists of paths"),
        ('{"train": {"path": ["a"], "label": ["cat"]}}', "no lists of paths"),
        ('{"train": {"path": [3], "label": ["3"]}}', "no lists of paths"),
        ('{"train": []}', "they are empty"),
    ],
)
def test_bad_split_files(tmp_path, raises_saying, content, found):
    root = write_mnist(tmp_path)
    path = tmp_path / "mnist_splits.json"
    path.unlink() if content is None else path.write_text(content)
    with raises_saying(asked="splits", found=found, do=""):
        read_zoo(DWSMnist(root))
