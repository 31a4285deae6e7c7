"""Reading goes on past files that cannot be used, and says what it left out and why."""

import json
import logging

import pandas as pd
import pytest
import torch
from torch import nn

from nn_graphs.networks.inr import inr_preset
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.zoos.readers.dws_inrs import DWSMnist
from nn_graphs.zoos.readers.given_architectures import INRArchitecture
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.nfn_sirens import NFNSirens
from nn_graphs.zoos.readers.read_report import ADVICE, ReadReport, Reason, summary
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo, read_zoo
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.readers.published import NFNNetwork, numbered, save, write_mnist, write_nfn

POINTS = (12, 16, 20)


@pytest.fixture
def sirens(tmp_path):
    """Twenty SIRENs, six of which cannot be used."""
    root = write_nfn(tmp_path, images=list(range(20)))
    state = numbered(NFNNetwork(), 1)

    def file(image: int):
        return root / f"randinit_smaller_{image % 10}s" / f"net{image}.pth"

    file(0).write_bytes(file(0).read_bytes()[:-500])
    file(3).unlink()
    save(nn.Linear(2, 3), file(5))
    save({**state, "net.1.linear.weight": torch.ones(5, 4)}, file(13))
    save({**state, "net.2.bias": torch.tensor([float("nan")])}, file(14))
    save({**state, "net.0.linear.bias": torch.tensor([1.0, torch.inf, 0, 0, 0])}, file(19))
    return root


def source(root) -> NFNSirens:
    return NFNSirens(root, split_points=POINTS)


def test_what_is_left_out(sirens):
    zoo, report = read_zoo(source(sirens))
    kept = [image for image in range(20) if image not in (0, 3, 5, 13, 14, 19)]
    assert zoo.table["source_id"].tolist() == kept
    assert zoo.params[0][:, 0].tolist() == kept
    assert zoo.params[0].isfinite().all()
    assert zoo.table["run"].tolist() == list(range(14))
    details = {skip.path.name: (skip.reason, skip.detail) for skip in report.skips}
    assert {name: reason for name, (reason, _) in details.items()} == {
        "net3.pth": Reason.MISSING,
        "net0.pth": Reason.DAMAGED,
        "net5.pth": Reason.CODE,
        "net13.pth": Reason.SHAPE,
        "net14.pth": Reason.NOT_FINITE,
        "net19.pth": Reason.NOT_FINITE,
    }
    expected = "net.1.linear.weight is [5, 4] where layers.1.weight [5, 5] is expected."
    assert details["net13.pth"][1] == expected
    assert details["net14.pth"][1].endswith("the first in layers.2.bias.")
    assert details["net19.pth"][1].startswith("1 of its weights are NaN or infinite")
    assert report.num_read == 14
    assert report.counts()[Reason.NOT_FINITE.value] == 2
    assert sum(report.counts().values()) == 6
    assert zoo.metadata["report"] == {"read": 14, "skipped": report.counts()}


def test_what_is_left_out_is_logged_once_per_reason(sirens, caplog):
    with caplog.at_level(logging.INFO, logger="nn_graphs"):
        read_zoo(source(sirens))
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(warnings) == 5
    code = next(line for line in warnings if Reason.CODE.value in line)
    assert "net5.pth" in code
    assert "torch.load(path, weights_only=False)" in code
    assert "14 networks read, 6 files skipped (2 with NaN" in caplog.records[-1].getMessage()


def test_strict(sirens, raises_saying):
    with raises_saying(asked=str(sirens), found="net3.pth", do=ADVICE[Reason.MISSING]):
        read_zoo(source(sirens), strict=True)
    save(numbered(NFNNetwork(), 3), sirens / "randinit_smaller_3s/net3.pth")
    with raises_saying(asked=str(sirens), found="net0.pth", do=ADVICE[Reason.DAMAGED]):
        read_zoo(source(sirens), strict=True)


def test_nothing_is_left(tmp_path, raises_saying):
    root = write_nfn(tmp_path, images=list(range(3)))
    for path in root.glob("*/*"):
        path.write_bytes(b"<html>")
    found = "3 files skipped (3 damaged or unreadable); the first is"
    for architecture in (None, INRArchitecture("nfn", (2, 5, 5, 1))):
        with raises_saying(asked=str(root), found=found, do="download them again"):
            read_zoo(source(root), architecture=architecture)


def test_architecture_is_that_of_most_files(tmp_path):
    root = write_nfn(tmp_path, images=list(range(20)))
    save(numbered(NFNNetwork(channels=3), 0), root / "randinit_smaller_0s/net0.pth")
    zoo, report = read_zoo(source(root))
    assert zoo.spec.layer_layout == (2, 5, 5, 1)
    assert [skip.path.name for skip in report.skips] == ["net0.pth"]


def test_other_architecture_than_published(tmp_path, raises_saying):
    root = write_nfn(tmp_path, images=list(range(4)))
    zoo, _ = read_zoo(source(root), architecture=inr_preset("siren").make_spec((2, 5, 5, 1)))
    assert zoo.spec == inr_preset("siren").make_spec((2, 5, 5, 1))
    assert "preset" not in zoo.metadata["recipe"]
    found = "net.0.linear.weight is [5, 2] where layers.0.weight [4, 2] is expected."
    with raises_saying(asked=str(root), found=found, do="layer layout"):
        read_zoo(source(root), architecture=INRArchitecture("nfn", (2, 4, 1)))


def test_own_module_as_architecture(tmp_path):
    root = write_nfn(tmp_path, images=list(range(4)))
    architecture = ModuleArchitecture("tests.zoos.readers.published:NFNNetwork", {"channels": 1})
    zoo, report = read_zoo(source(root), architecture=architecture)
    published, _ = read_zoo(source(root))
    assert zoo.spec == published.spec
    assert torch.equal(zoo.params[0], published.params[0])
    assert report.skips == ()


@pytest.mark.parametrize("num_workers", [2, 5, 40])
def test_parallel_is_serial(sirens, num_workers):
    serial, first = read_zoo(source(sirens), num_workers=1)
    parallel, second = read_zoo(source(sirens), num_workers=num_workers)
    assert torch.equal(serial.params[0], parallel.params[0])
    pd.testing.assert_frame_equal(serial.table, parallel.table)
    assert first == second


def test_no_workers(tmp_path, raises_saying):
    with raises_saying(asked="0 threads", found="none", do="one or more"):
        read_zoo(source(tmp_path), num_workers=0)


def test_files_that_may_not_be_read(tmp_path):
    root = write_nfn(tmp_path, images=list(range(4)))
    path = root / "randinit_smaller_2s/net2.pth"
    path.unlink()
    path.mkdir()
    _, report = read_zoo(source(root))
    assert report.skips[0].reason is Reason.DAMAGED
    assert "cannot be read (Is a directory)" in report.skips[0].detail


def test_open_or_read(sirens, tmp_path, raises_saying):
    path = tmp_path / "new" / "zoo.h5"
    zoo = open_or_read_zoo(source(sirens), path)
    assert len(zoo) == 14
    skipped = pd.read_csv(path.with_name("zoo.h5.skipped.csv"))
    assert len(skipped) == 6
    assert set(skipped["reason"]) == {*zoo.metadata["report"]["skipped"]}
    for file in sirens.glob("*/*"):
        file.unlink()  # the files are needed no more
    again = open_or_read_zoo(source(sirens), path)
    assert torch.equal(again.params[0], zoo.params[0])
    moved = NFNSirens("other/siren_mnist_wts", split_points=list(POINTS))
    assert len(open_or_read_zoo(moved, path, num_workers=1)) == 14
    augmented = NFNSirens(sirens, num_augmented=1, split_points=POINTS)
    for other, found in [(augmented, "num_augmented was 0, now 1"), (DWSMnist(sirens), "'nfn'")]:
        with raises_saying(asked=str(path), found=found, do="another path"):
            open_or_read_zoo(other, path)
    with raises_saying(asked=str(path), found="preset was 'nfn'", do="delete the file"):
        open_or_read_zoo(source(sirens), path, architecture=INRArchitecture("siren"))


def test_nothing_skipped_leaves_one_file(tmp_path):
    root = write_mnist(tmp_path / "dataset")
    open_or_read_zoo(DWSMnist(root), tmp_path / "zoos" / "zoo.h5")
    assert [path.name for path in (tmp_path / "zoos").iterdir()] == ["zoo.h5"]


def test_failed_reading_leaves_no_file(tmp_path, raises_saying):
    with raises_saying(asked="INRs of MNIST", found="no such folder", do="Unpack"):
        open_or_read_zoo(DWSMnist(tmp_path / "no"), tmp_path / "zoos" / "zoo.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_task_takes_the_zoo(sirens):
    task = INRClassification(read_zoo(source(sirens))[0])
    graphs, labels = task.dataset("train").batch([0])
    assert graphs.template.parameters == task.zoo.spec.parameters
    assert labels.tolist() == [1]


def test_zoo_survives_its_file(sirens, tmp_path):
    zoo, _ = read_zoo(source(sirens))
    again = Zoo.open(zoo.save(tmp_path / "zoo.h5"))
    assert torch.equal(again.params[0], zoo.params[0])
    assert again.metadata == json.loads(json.dumps(zoo.metadata)) == zoo.metadata


def test_summary_of_nothing_skipped():
    report = ReadReport(70_000)
    assert str(report) == summary(report.metadata()) == "70,000 networks read, 0 files skipped"


def test_an_inr_preset_by_its_name(sirens):
    by_name, _ = read_zoo(
        NFNSirens(str(sirens), "cifar10", split_points=POINTS), architecture="nfn"
    )
    given = INRArchitecture("nfn")
    by_hand, _ = read_zoo(NFNSirens(sirens, "cifar10", split_points=POINTS), architecture=given)
    assert by_name.specs == by_hand.specs
    assert by_name.metadata == by_hand.metadata
