"""The CNN Wild Park: many architectures in one zoo, read without OmegaConf and without code."""

import io
import shutil
import sys

import pytest
import torch

from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.zoos.readers.checkpoints import ObjectReader, plain
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo, read_zoo
from nn_graphs.zoos.readers.wild_park import WildPark, spec_of_config
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.readers.published import save
from tests.zoos.readers.wild_parks import (
    CONFIGS,
    accuracy,
    checkpoint,
    checkpoint_path,
    write_park,
    write_splits,
    zipped,
)

RUNS = {"train": [0, 3, 4, 7], "val": [1], "test": [2, 6]}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    return write_park(tmp_path_factory.mktemp("park"))


@pytest.fixture
def folder(written, tmp_path):
    shutil.copytree(written, tmp_path / "cifar10_zooV2")
    return tmp_path / "cifar10_zooV2"


@pytest.mark.parametrize("config", CONFIGS)
def test_networks_compute_what_the_published_module_computes(config):
    module, content = checkpoint(config, 10, seed=3)
    spec = spec_of_config(config)
    params = torch.cat([value.flatten() for value in content["model"].values()])
    inputs = torch.randn(5, 3, 9, 9)
    ours = stacked_forward(spec, params.unsqueeze(0), inputs)[0]
    torch.testing.assert_close(ours, module(inputs), atol=1e-5, rtol=1e-4)


def test_zoo_of_the_published_splits(folder, tmp_path):
    write_splits(tmp_path, RUNS)
    zoo, report = read_zoo(WildPark(folder))
    assert zoo.specs == tuple(spec_of_config(CONFIGS[number]) for number in (0, 1))
    assert zoo.table["split"].value_counts().to_dict() == {"train": 8, "val": 2, "test": 4}
    assert report.counts() == {Reason.UNLISTED.value: 2}  # of run 5
    for _, row in zoo.table.iterrows():
        run, place = int(row["path"][18:23]), (10, 20).index(row["step"])
        assert row["label"] == pytest.approx(accuracy(10 * run + place))
        state = torch.load(folder.parent / "cifar10_zooV2" / row["path"], weights_only=False)
        expected = torch.cat([value.flatten() for value in state["model"].values()])
        assert torch.equal(zoo.params[row["spec"]][row["row"]], expected)


def test_zip_is_read_as_it_is(folder, tmp_path):
    write_splits(tmp_path, RUNS)
    unpacked, _ = read_zoo(WildPark(folder))
    archive = zipped(folder)
    shutil.rmtree(folder)
    path = tmp_path / "zoo.h5"
    zoo = open_or_read_zoo(WildPark(archive), path)
    columns = [name for name in zoo.table if name != "path"]
    assert zoo.table[columns].equals(unpacked.table[columns])
    again = Zoo.open(path)
    assert again.specs == unpacked.specs
    for ours, theirs in zip(again.params, unpacked.params, strict=True):
        assert torch.equal(ours, theirs)


def test_runs_stay_together_in_a_split_of_our_own(folder):
    zoo, _ = read_zoo(WildPark(folder))
    assert len(zoo) == 16
    assert (zoo.table.groupby("run")["split"].nunique() == 1).all()
    counts = zoo.table.groupby("split")["run"].nunique()
    assert counts.to_dict() == {"train": 5, "val": 1, "test": 2}
    again, _ = read_zoo(WildPark(folder))
    assert again.table.equals(zoo.table)
    other, _ = read_zoo(WildPark(folder, seed=1))
    assert other.table["split"].tolist() != zoo.table["split"].tolist()
    assert zoo.table["label"].min() == pytest.approx(0.1)


def test_no_class_of_the_file_is_imported(folder, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("omegaconf")]:
        monkeypatch.setitem(sys.modules, name, None)  # an import would fail
    zoo, report = read_zoo(WildPark(folder))
    assert (len(zoo), report.skips) == (16, ())


class Harmful:
    """A pickle that would call a function as it is loaded."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_code_in_a_file_does_not_run(folder, tmp_path, monkeypatch):
    """Also where the function that it names is a harmless-looking builtin."""
    trace = tmp_path / "ran"
    _, content = checkpoint(CONFIGS[0], 10, seed=0)
    content["last_result"]["more"] = Harmful(eval, f"open({str(trace)!r}, 'w').close()")
    save(content, checkpoint_path(tmp_path, 0, 10))
    zoo, _ = read_zoo(WildPark(folder))
    assert not trace.exists()
    assert len(zoo) == 16


def test_files_that_cannot_be_used(folder, tmp_path):
    def write(run: int, **changes) -> None:
        _, content = checkpoint(CONFIGS[0], 10, seed=0)
        save(content | changes, checkpoint_path(tmp_path, run, 10))

    write(0, config=CONFIGS[0] | {"activation": ["relu", "swish"]})
    write(1, config=CONFIGS[0] | {"channels": [3, 4]})
    write(2, config=None)
    write(3, last_result={"test/acc": float("nan")})
    write(4, config=CONFIGS[1])
    checkpoint_path(tmp_path, 5, 10).write_bytes(b"PK")
    zoo, report = read_zoo(WildPark(folder))
    details = {skip.path.parts[-3][-1]: skip for skip in report.skips}
    assert len(zoo) == 10
    assert "its activation 'swish' is unknown; known are none, relu" in details["0"].detail
    assert "n_layers 2, 2 channels" in details["1"].detail
    assert "describes no CNN" in details["2"].detail
    assert details["3"].reason is Reason.LABEL
    assert "layers.0.weight [8, 3, 7, 7] is expected" in details["4"].detail
    assert details["5"].reason is Reason.DAMAGED


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"residual": [-1, 5]}, "skip"),
        ({"kernel_size": None}, "describes no CNN"),
        ({"n_layers": 3}, "n_layers 3"),
    ],
)
def test_configs_that_contradict_themselves(change, found):
    with pytest.raises(Skipped, match=found):
        spec_of_config(CONFIGS[0] | change)


def test_accuracy_that_contradicts_the_split_file(folder, tmp_path):
    write_splits(tmp_path, RUNS)
    _, content = checkpoint(CONFIGS[0], 10, seed=0)
    content["last_result"]["test/acc"] = 0.9
    save(content, checkpoint_path(tmp_path, 0, 10))
    _, report = read_zoo(WildPark(folder))
    skip = report.examples()[Reason.LABEL]
    assert "its label is 0.9, in the split file 0.1" in skip.detail


@pytest.mark.parametrize("name", ["nowhere", "file.zip", "empty"])
def test_what_is_no_park(tmp_path, raises_saying, name):
    (tmp_path / "file.zip").write_bytes(b"<html>")
    (tmp_path / "empty").mkdir()
    found = {
        "nowhere": "no such folder",
        "file.zip": "no zip archive",
        "empty": "it holds no <run>",
    }
    with raises_saying(asked="as the CNN Wild Park", found=found[name], do=""):
        read_zoo(WildPark(tmp_path / name))


def test_wrong_split_file(folder, tmp_path, raises_saying):
    (tmp_path / "cnn_park_splits.json").write_text('{"train": {"path": []}}')
    with raises_saying(asked="cnn_park_splits.json", found="no lists path", do="as its publisher"):
        read_zoo(WildPark(folder))


def test_objects_are_their_fields():
    reader = ObjectReader()
    _, content = checkpoint(CONFIGS[1], 10, seed=0)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    for _ in range(2):
        loaded = reader.load(buffer.getvalue())
        assert plain(loaded["config"]) == CONFIGS[1]
