"""A folder of checkpoints with a CSV of labels."""

import shutil
import unicodedata
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.zoos.readers.given_architectures import ChainArchitecture
from nn_graphs.zoos.readers.labelled_folder import Folder
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_report import Reason
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo, read_zoo
from nn_graphs.zoos.zoo import Zoo
from tests.zoos.readers import user_networks
from tests.zoos.readers.published import save
from tests.zoos.readers.test_checkpoints_safetensors import written

SPEC = NetworkSpec.mlp((2, 3, 1), activation=Activation("tanh"))
TABLE = pd.DataFrame(
    {
        "path": ["a.pth", "./deep/er/b.pt", "deep/c.safetensors", "d.pth"],
        "label": [0.25, 0.5, 0.75, 1.0],
        "split": ["train", "train", "val", "test"],
        "run": [7, 7, 8, 9],
        "optimizer": ["adam", None, "sgd", "sgd"],
        "step": [10, 20, 10, 10],
    }
)


def state_of(number: int) -> dict[str, torch.Tensor]:
    params = torch.full((SPEC.num_params,), float(number))
    return {
        name.replace("layers", "net"): value.clone()
        for name, value in SPEC.parameters.unflatten(params).items()
    }


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "mine"
    save(state_of(0), root / "a.pth")
    save({"model_state_dict": state_of(1), "epoch": 3}, root / "deep/er/b.pt")
    (root / "deep/c.safetensors").write_bytes(written(state_of(2)))
    save({f"module.{name}": value for name, value in state_of(3).items()}, root / "d.pth")
    TABLE.to_csv(root / "labels.csv", index=False)
    return root


def test_all_kinds_of_files(folder, tmp_path):
    zoo, report = read_zoo(Folder(folder), architecture=SPEC)
    assert report.skips == ()
    assert zoo.params[0][:, 0].tolist() == [0, 1, 2, 3]
    for column in ("label", "split", "run", "step"):
        assert zoo.table[column].tolist() == TABLE[column].tolist()
    assert zoo.table["optimizer"].tolist() == ["adam", "", "sgd", "sgd"]
    assert zoo.table["path"][1] == "deep/er/b.pt"
    assert list(zoo.table)[:3] == ["label", "split", "run"]
    again = Zoo.open(zoo.save(tmp_path / "zoo.h5"))
    pd.testing.assert_frame_equal(again.table, zoo.table, check_dtype=False)
    assert "image_size" not in zoo.metadata


@pytest.mark.parametrize("separator", [";", "\t"])
@pytest.mark.parametrize("there", ["/home/user/mine/{}", "C:\\zoos\\{}", "mine/{}"])
def test_lists_that_other_programs_wrote_elsewhere(folder, separator, there):
    paths = [there.format(path) for path in TABLE["path"]]
    TABLE.assign(path=paths).to_csv(folder / "labels.csv", index=False, sep=separator)
    zoo, report = read_zoo(Folder(folder), architecture=SPEC)
    assert report.skips == ()
    assert zoo.params[0][:, 0].tolist() == [0, 1, 2, 3]
    assert zoo.table["label"].tolist() == TABLE["label"].tolist()


def test_labels_beside_the_folder_with_absolute_paths(folder, tmp_path):
    paths = [str(folder.absolute() / path) for path in TABLE["path"]]
    TABLE.assign(path=paths).to_csv(tmp_path / "other.csv", index=False)
    (folder / "labels.csv").unlink()
    architecture = ModuleArchitecture("tests.zoos.readers.user_networks:plain")
    zoo, _ = read_zoo(Folder(folder, tmp_path / "other.csv"), architecture=architecture)
    assert zoo.params[0][:, 0].tolist() == [0, 1, 2, 3]
    assert zoo.table["path"].tolist() == ["a.pth", "deep/er/b.pt", "deep/c.safetensors", "d.pth"]


def test_list_and_disk_differ(folder):
    save(state_of(4), folder / "deep/unlisted.pth")
    (folder / "d.pth").unlink()
    rows = [*TABLE.to_dict("records"), {**TABLE.iloc[0], "label": 0.1}]
    pd.DataFrame(rows).to_csv(folder / "labels.csv", index=False)
    zoo, report = read_zoo(Folder(folder), architecture=SPEC)
    assert zoo.table["label"].tolist() == [0.25, 0.5, 0.75]
    assert {skip.reason: skip.path.relative_to(folder).as_posix() for skip in report.skips} == {
        Reason.TWICE: "a.pth",
        Reason.MISSING: "d.pth",
        Reason.UNLISTED: "deep/unlisted.pth",
    }


def test_runs_of_their_own_where_none_are_given(folder):
    TABLE[["path"]].to_csv(folder / "labels.csv", index=False)
    zoo, _ = read_zoo(Folder(folder), architecture=SPEC)
    assert list(zoo.table) == ["run", "path", "spec", "row"]
    assert zoo.table["run"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        ("", "it is no CSV file"),
        ("file,label\na.pth,1\n", "it has no column path, but file, label"),
        ("path,label\n", "it has no rows"),
        ("path,label\na.pth,1\n,2\n", "its row 2 has no path"),
        ("path,spec\na.pth,1\n", "the column spec is one that the zoo makes itself"),
        ("path,split\na.pth,train\nd.pth,dev\n", "not all one of train, val, test: dev"),
    ],
)
def test_bad_labels(folder, raises_saying, content, found):
    path = folder / "labels.csv"
    path.unlink() if content is None else path.write_text(content)
    with raises_saying(asked=f"labels in {path}", found=found, do="path, label, split"):
        read_zoo(Folder(folder), architecture=SPEC)


def test_no_folder_and_no_architecture(folder, raises_saying):
    with raises_saying(asked="checkpoints", found="no such folder", do="Check the path"):
        read_zoo(Folder(folder / "nowhere"), architecture=SPEC)
    with raises_saying(asked=str(folder), found="architecture", do="INR preset, a NetworkSpec"):
        read_zoo(Folder(folder))


WIDTHS = ((2, 3, 1), (4, 8, 8, 2), (2, 3, 1), (5, 1))


@pytest.fixture
def mixed(tmp_path):
    """Four MLPs of three architectures in three runs, as safetensors, in a zip archive."""
    rows = []
    with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
        for number, widths in enumerate(WIDTHS):
            spec = NetworkSpec.mlp(widths, activation=Activation("relu"))
            params = torch.arange(spec.num_params) + 1000.0 * number
            state = {k: v.clone() for k, v in spec.parameters.unflatten(params).items()}
            archive.writestr(f"policies/{number}.safetensors", written(state))
            rows.append({"file": f"{number}.safetensors", "kind": f"k{number % 2}"})
        table = pd.DataFrame(rows).assign(env=["a", "b", "a", "c"], run="one")
        archive.writestr("policies/labels.csv", table.to_csv(index=False))
    return tmp_path / "mixed.zip"


def test_chains_of_any_widths_in_a_zip_archive(mixed, tmp_path):
    source = Folder(
        mixed, path_column="file", run_columns=["env", "run"], val_share=0.3, test_share=0.3
    )
    zoo, report = read_zoo(source, architecture=ChainArchitecture("relu"))
    assert report.skips == ()
    assert [spec.layer_layout for spec in zoo.specs] == [(2, 3, 1), (4, 8, 8, 2), (5, 1)]
    assert zoo.table["spec"].tolist() == [0, 1, 0, 2]
    assert zoo.table["row"].tolist() == [0, 0, 1, 0]
    assert zoo.table["run"].tolist() == [0, 1, 0, 2]
    assert zoo.table["run_name"].tolist() == ["one"] * 4
    assert set(zoo.table["split"]) == {"train", "val", "test"}
    assert zoo.table["split"][0] == zoo.table["split"][2]
    for number, (kind, row) in enumerate(zoo.table[["spec", "row"]].to_numpy()):
        count = zoo.specs[kind].num_params
        expected = torch.arange(count) + 1000.0 * number
        assert torch.equal(zoo.params[kind][row], expected)
    again = Zoo.open(zoo.save(tmp_path / "zoo.h5"))
    assert again.specs == zoo.specs


def test_activation_of_each_chain(folder):
    TABLE.assign(activation=["tanh", "relu", "", "odd"]).to_csv(folder / "labels.csv", index=False)
    zoo, report = read_zoo(Folder(folder), architecture=ChainArchitecture("gelu"))
    names = [spec.layers[0].activation.name for spec in zoo.specs]
    assert names == ["tanh", "relu", "gelu"]
    assert "no 'odd'" in report.skips[0].detail


def test_architecture_of_each_network_in_a_file(folder, tmp_path):
    (folder / "small.json").write_text(SPEC.to_json())
    names = ["small.json", "small.json", "none.json", "small.json"]
    TABLE.assign(architecture=names).to_csv(folder / "labels.csv", index=False)
    source = Folder(folder, architecture_column="architecture")
    zoo = open_or_read_zoo(source, tmp_path / "zoo.h5")
    assert zoo.params[0][:, 0].tolist() == [0, 1, 3]
    shutil.rmtree(folder)
    assert len(open_or_read_zoo(source, tmp_path / "zoo.h5")) == 3


def test_columns_that_are_not_there(mixed, raises_saying):
    for options in ({"run_columns": ["seed"]}, {"architecture_column": "seed"}):
        source = Folder(mixed, path_column="file", **options)
        with raises_saying(asked="labels", found="no column seed, but path", do="run_columns"):
            read_zoo(source, architecture=ChainArchitecture("relu"))


def test_convolutions_in_a_file_sorted_by_name(tmp_path):
    """`fc` comes before `layers`, and its bias must not be taken for that of a convolution."""
    spec = NetworkSpec.cnn(
        (1, 10, 10), convs=ConvSpec.square(3), activations=Activation("relu"), num_outputs=10
    )
    params = torch.arange(float(spec.num_params))
    state = spec.parameters.unflatten(params)
    renamed = {name.replace("layers.2", "fc"): value.clone() for name, value in state.items()}
    (tmp_path / "a.safetensors").write_bytes(written(dict(sorted(renamed.items()))))
    (tmp_path / "labels.csv").write_text("path\na.safetensors\n")
    zoo, _ = read_zoo(Folder(tmp_path), architecture=spec)
    assert torch.equal(zoo.params[0][0], params)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(",val,", ",valid,"),
        lambda text: text.replace(",val,", ",Validation,").replace(",train,", ",Train,"),
        lambda text: text.replace(",", ", "),
    ],
)
def test_splits_as_people_write_them(folder, change):
    path = folder / "labels.csv"
    path.write_text(change(path.read_text()))
    zoo, _ = read_zoo(Folder(folder), architecture=SPEC)
    assert zoo.table["split"].tolist() == TABLE["split"].tolist()
    assert zoo.table["label"].tolist() == TABLE["label"].tolist()


@pytest.mark.parametrize(("given", "other"), [("test", "val"), ("val", "test")])
def test_one_share_alone(folder, raises_saying, given, other):
    source = Folder(folder, **{f"{given}_share": 0.25})
    with raises_saying(asked="split", found=f"{other}_share is not", do="both"):
        read_zoo(source, architecture=SPEC)


@pytest.mark.parametrize("suffix", [".ckpt", ".pth.tar", ".bin", ".pkl", ".PTH", ".PT", ""])
def test_files_of_other_endings(tmp_path, suffix):
    save(state_of(4), tmp_path / f"a{suffix}")
    (tmp_path / "labels.csv").write_text(f"path\na{suffix}\n")
    zoo, report = read_zoo(Folder(tmp_path), architecture=SPEC)
    assert zoo.params[0][0, 0] == 4
    assert report.skips == ()


def test_arrays_of_numpy(tmp_path):
    np.savez(tmp_path / "a.npz", **{name: value.numpy() for name, value in state_of(4).items()})
    (tmp_path / "labels.csv").write_text("path\na.npz\n")
    assert read_zoo(Folder(tmp_path), architecture=SPEC)[0].params[0][0, 0] == 4


@pytest.mark.parametrize(
    ("call", "place"),
    [
        ("deep\\er\\b.pt", "{}"),
        ("deep/../deep//er/b.pt", "{}"),
        ("{}/deep/er/b.pt", "{}/deep/.."),
        ("{}/deep/er/b.pt", "{}_link"),
        ("{}_link/deep/er/b.pt", "{}"),
    ],
)
def test_paths_as_people_write_them(folder, call, place):
    Path(f"{folder}_link").symlink_to(folder)
    (folder / "labels.csv").write_text(f"path\n{call.format(folder)}\n")
    zoo, _ = read_zoo(Folder(place.format(folder)), architecture=SPEC)
    assert zoo.table["path"].tolist() == ["deep/er/b.pt"]
    assert zoo.params[0][0, 0] == 1


def test_accents_in_two_forms(tmp_path):
    composed, taken_apart = (unicodedata.normalize(form, "é.pth") for form in ("NFC", "NFD"))
    save(state_of(4), tmp_path / taken_apart)
    (tmp_path / "labels.csv").write_text(f"path\n{composed}\n", encoding="utf-8")
    assert len(read_zoo(Folder(tmp_path), architecture=SPEC)[0]) == 1


# Flat vectors.


def flat_folder(tmp_path, contents) -> Path:
    """A folder of files by name, which are written as their endings say."""
    root = tmp_path / "flat"
    root.mkdir()
    for name, vector in contents.items():
        if name.endswith(".npy"):
            np.save(root / name, np.asarray(vector))
        elif name.endswith(".npz"):
            np.savez(root / name, weights=np.asarray(vector))
        elif name.endswith(".safetensors"):
            (root / name).write_bytes(written({"weights": vector}))
        else:
            save(vector, root / name)
    table = pd.DataFrame({"path": list(contents), "label": 0})
    table.to_csv(root / "labels.csv", index=False)
    return root


def test_flat_vectors_of_every_kind_of_file(tmp_path):
    vectors = torch.randn(5, SPEC.num_params)
    names = ("a.pth", "b.npy", "c.npz", "d.safetensors", "e.pt")
    contents = dict(zip(names, vectors.unbind(), strict=True))
    contents["e.pt"] = {"params": contents["e.pt"]}
    zoo, report = read_zoo(Folder(flat_folder(tmp_path, contents), is_flat=True), architecture=SPEC)
    assert report.skips == ()
    assert torch.equal(zoo.take(range(5)), vectors)


def test_flat_vectors_are_in_the_order_of_their_module(tmp_path):
    """It registers its output layer first, and `parameters_to_vector` begins there."""
    module = user_networks.Chain()
    vector = nn.utils.parameters_to_vector(module.parameters()).detach()
    root = flat_folder(tmp_path, {"a.pth": vector})
    architecture = ModuleArchitecture("tests.zoos.readers.user_networks:Chain", in_width=2)
    zoo, _ = read_zoo(Folder(root, is_flat=True), architecture=architecture)
    save(dict(module.state_dict()), root / "a.pth")
    named, _ = read_zoo(Folder(root), architecture=architecture)
    assert torch.equal(zoo.take([0]), named.take([0]))
    assert not torch.equal(zoo.take([0])[0], vector)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (torch.zeros(3), "it has 3 values, the architecture 13 parameters"),
        (torch.zeros(13, 1), "no flat vector but a tensor [13, 1] of float32"),
        (torch.zeros(13, dtype=torch.long), "no flat vector but a tensor [13] of int64"),
        ({"a": torch.zeros(13), "b": torch.zeros(13)}, "no flat vector but the entries a, b"),
        ("text", "no flat vector but a str"),
    ],
)
def test_what_is_no_flat_vector(tmp_path, content, found, raises_saying):
    root = flat_folder(tmp_path, {"a.pth": content})
    with raises_saying(asked=str(root), found=found, do=""):
        read_zoo(Folder(root, is_flat=True), architecture=SPEC)


def test_flat_vectors_need_an_architecture(tmp_path, raises_saying):
    root = flat_folder(tmp_path, {"a.pth": torch.zeros(13)})
    with raises_saying(asked=str(root), found="does not tell the widths", do=""):
        read_zoo(Folder(root, is_flat=True), architecture=ChainArchitecture("tanh"))
    with raises_saying(asked="flat vectors", found="a prefix is given", do="Leave both out"):
        Folder(root, is_flat=True, prefix="net")


def test_objects_in_numpy_files_are_not_loaded(tmp_path, raises_saying):
    root = flat_folder(tmp_path, {"a.pth": torch.zeros(13)})
    (root / "a.pth").unlink()
    np.save(root / "a.npy", np.array([object()], dtype=object), allow_pickle=True)
    (root / "labels.csv").write_text("path,label\na.npy,1\n")
    with raises_saying(asked=str(root), found="a.npy", do=""):
        read_zoo(Folder(root, is_flat=True), architecture=SPEC)


def test_a_file_with_a_list_of_state_dicts_has_a_row_for_each(tmp_path, monkeypatch):
    """`prefix` is the number in the list; the file is loaded once for all its rows."""
    loads, load = [], torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: loads.append(a) or load(*a, **k))
    save([state_of(0), state_of(1), state_of(2)], tmp_path / "all.pt")
    save({"inrs": [{"model": state_of(3)}, {"model": state_of(4)}]}, tmp_path / "more.pt")
    pd.DataFrame(
        {
            "path": ["all.pt"] * 3 + ["more.pt"] * 2,
            "prefix": ["2", "0", "1", "inrs.1.model", "inrs.0.model"],
        }
    ).to_csv(tmp_path / "labels.csv", index=False)
    zoo, report = read_zoo(Folder(tmp_path), architecture=SPEC)
    assert report.skips == ()
    assert zoo.params[0][:, 0].tolist() == [2, 0, 1, 4, 3]
    assert len(loads) == 2
    chains, _ = read_zoo(Folder(tmp_path), architecture=ChainArchitecture("tanh"))
    assert torch.equal(chains.params[0], zoo.params[0])
    again = open_or_read_zoo(Folder(tmp_path), tmp_path / "zoo.h5", architecture=SPEC)
    assert len(open_or_read_zoo(Folder(tmp_path), tmp_path / "zoo.h5", architecture=SPEC)) == 5
    assert len(again) == 5


def test_a_list_without_a_choice_is_told(tmp_path, raises_saying):
    save([state_of(0), state_of(1)], tmp_path / "all.pt")
    pd.DataFrame({"path": ["all.pt"]}).to_csv(tmp_path / "labels.csv", index=False)
    found = "a list of 2, 2 of them state dicts; choose one by its number as prefix"
    with raises_saying(asked="as a zoo", found=found, do=""):
        read_zoo(Folder(tmp_path), architecture=SPEC)
