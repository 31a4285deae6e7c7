"""A zoo file gives back every bit, is mapped rather than read, and is never half written."""

import json
import os

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader
from torch_geometric.loader import DataLoader as GeometricLoader
from torch_geometric.nn import GATConv

from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.zoos.batches import make_templates
from nn_graphs.zoos.zoo import Zoo
from nn_graphs.zoos.zoo_header import write_header
from tests.toy_zoos import mixed_zoo, separable_zoo

SMALL = NetworkSpec.mlp((2, 3, 1), activation=Activation("sine", 30.0), offset=0.5)
SKIP = NetworkSpec(2, (LayerSpec(4, Activation("relu")), LayerSpec(4, skips=(1,))))


def make_single(num_networks: int = 6) -> Zoo:
    table = pd.DataFrame(
        {
            "label": np.arange(num_networks) % 10,
            "split": (["train"] * 3 + ["val", "test", "test"])[:num_networks],
            "psnr": np.linspace(0.1, 30, num_networks, dtype=np.float32),
            "is_good": np.arange(num_networks) % 2 == 0,
            "name": ["", "plain", "größer", "図", "two words", "🙂"][:num_networks],
        }
    )
    params = torch.randn(num_networks, SMALL.num_params)
    params[:1, :3] = torch.tensor([torch.nan, -0.0, torch.inf])
    return Zoo.single(SMALL, params, table, {"maker": "tést", "seed": 3, "size": [28, 28]})


def cnn_zoo() -> Zoo:
    """CNNs with kernels of two sizes."""
    specs = tuple(wild_park_spec((1, 3), (size,), activations=("relu",)) for size in (3, 5))
    table = pd.DataFrame({"spec": [1, 0, 0, 1], "row": [1, 0, 1, 0], "label": [0.5, 0.25, 1, 0]})
    return Zoo(specs, tuple(torch.randn(2, spec.num_params) for spec in specs), table)


def make_mixed() -> Zoo:
    """Five networks of two architectures, interleaved."""
    table = pd.DataFrame({"spec": [1, 0, 0, 1, 1], "row": [2, 0, 1, 0, 1], "label": range(5)})
    params = torch.randn(2, SMALL.num_params), torch.randn(3, SKIP.num_params)
    return Zoo((SMALL, SKIP), params, table)


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo, cnn_zoo])
def test_a_zoo_is_a_sequence_of_graphs(make_zoo):
    zoo = make_zoo()
    graphs = list(zoo)
    assert len(graphs) == len(zoo)
    templates = make_templates(zoo)
    size = GraphDims.of(templates).kernel_size
    for graph, (kind, row) in zip(graphs, zoo.table[["spec", "row"]].to_numpy(), strict=True):
        expected = templates[kind].centred(templates[kind](zoo.params[kind][row]), size)
        assert torch.equal(graph.node_features, expected.node_features)
        assert torch.equal(graph.edge_features, expected.edge_features)
        assert torch.equal(graph.edge_index, expected.edge_index)
        assert graph.template_id.tolist() == [kind]
    assert [graph.y.item() for graph in graphs] == zoo.table["label"].tolist()
    assert torch.equal(zoo[-1].x, graphs[-1].x)
    with pytest.raises(IndexError):
        zoo[len(zoo)]


def test_several_places_are_a_zoo():
    zoo = mixed_zoo()
    for which in (slice(3, 20, 4), [3, 7, 11, 15, 19], np.array([3, 7, 11, 15, 19])):
        part = zoo[which]
        assert isinstance(part, Zoo)
        assert part.table["run"].tolist() == [3, 7, 11, 15, 19]


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo, cnn_zoo])
@pytest.mark.parametrize("loader", [DataLoader, GeometricLoader])
def test_loaders_take_a_zoo_as_it_is(make_zoo, loader):
    zoo = make_zoo()
    batches = list(loader(zoo, batch_size=32))
    assert sum(batch.num_graphs for batch in batches) == len(zoo)
    labels = torch.cat([batch.y for batch in batches])
    assert labels.tolist() == zoo.table["label"].tolist()
    first = batches[0]
    outputs = GATConv(1, 2, edge_dim=first.num_edge_features)(
        first.x, first.edge_index, first.edge_attr
    )
    assert outputs.shape == (first.num_nodes, 2)


def test_a_zoo_without_labels_has_graphs_without():
    zoo = make_mixed()
    assert "y" in zoo[0]
    zoo.table["label"] = ["a", "b", "c", "d", "e"]
    assert "y" not in zoo[0]


def bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.view(torch.int32)


@pytest.mark.parametrize("make_zoo", [make_single, make_mixed])
def test_round_trip_keeps_every_bit(make_zoo, tmp_path):
    zoo = make_zoo()
    path = zoo.save(tmp_path / "new" / "folder" / "zoo.h5")
    again = Zoo.open(path)
    assert len(again) == len(zoo)
    assert again.specs == zoo.specs
    assert again.metadata == zoo.metadata
    pd.testing.assert_frame_equal(again.table, zoo.table, check_exact=True)
    for ours, theirs in zip(again.params, zoo.params, strict=True):
        assert torch.equal(bits(ours), bits(theirs))


def test_saving_what_was_opened_gives_the_same_again(tmp_path):
    first = make_single().save(tmp_path / "first.h5")
    second = Zoo.open(first).save(tmp_path / "second.h5")
    again = Zoo.open(first).save(first)  # over the file that is mapped
    for path in (second, again):
        assert torch.equal(bits(Zoo.open(path).params[0]), bits(Zoo.open(first).params[0]))
        pd.testing.assert_frame_equal(Zoo.open(path).table, Zoo.open(first).table)


def test_zoo_without_networks(tmp_path):
    zoo = make_single(0)
    again = Zoo.open(zoo.save(tmp_path / "empty.h5"))
    assert len(again) == 0
    assert again.params[0].shape == (0, SMALL.num_params)
    assert list(again.table) == list(zoo.table)


def test_index_of_the_table_does_not_matter(tmp_path):
    zoo = make_single()
    shuffled = Zoo.single(SMALL, zoo.params[0], zoo.table.set_index(pd.Index(range(60, 66))))
    assert shuffled.indices("test").tolist() == [4, 5]
    assert torch.equal(shuffled.take([5]), zoo.take([5]))
    assert Zoo.open(shuffled.save(tmp_path / "zoo.h5")).indices("val").tolist() == [3]


def test_file_of_version_1(tmp_path):
    """As it was written before: a group for every architecture."""
    zoo, path = make_mixed(), tmp_path / "old.h5"
    with h5py.File(path, "w") as file:
        metadata = json.dumps({"maker": "tést"})
        file.attrs.update(format="nn_graphs.zoo", version=1, metadata=metadata)
        for number, (spec, params) in enumerate(zip(zoo.specs, zoo.params, strict=True)):
            group = file.create_group(f"specs/{number}")
            group.attrs["spec"] = spec.to_json()
            group.create_dataset("params", data=params.numpy())
        for column, values in zoo.table.items():
            file.create_dataset(f"table/{column}", data=values.to_numpy())
        file["table"].attrs["columns"] = json.dumps(list(zoo.table))
    again = Zoo.open(path)
    assert again.specs == zoo.specs
    assert again.metadata == {"maker": "tést"}
    pd.testing.assert_frame_equal(again.table, zoo.table)
    for ours, theirs in zip(again.params, zoo.params, strict=True):
        assert torch.equal(ours, theirs)


def test_many_architectures_open_the_file_once(tmp_path):
    """Thousands of architectures would be thousands of open files, more than there may be."""
    specs = tuple(NetworkSpec.mlp((2, width, 1), activation=Activation()) for width in range(1, 80))
    params = tuple(torch.randn(width % 3, spec.num_params) for width, spec in enumerate(specs))
    places = [(kind, row) for kind, part in enumerate(params) for row in range(len(part))]
    table = pd.DataFrame(places, columns=["spec", "row"])
    path = Zoo(specs, params, table).save(tmp_path / "zoo.h5")
    before = len(os.listdir("/proc/self/fd"))
    zoo = Zoo.open(path)
    assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert zoo.specs == specs
    assert all(torch.equal(*pair) for pair in zip(zoo.params, params, strict=True))


def test_metadata_of_any_length(tmp_path):
    zoo = make_single()
    long = Zoo(zoo.specs, zoo.params, zoo.table, {"names": ["x" * 100] * 1000})
    assert Zoo.open(long.save(tmp_path / "zoo.h5")).metadata == long.metadata


def test_parameters_are_mapped_not_read(tmp_path, monkeypatch):
    path = make_single().save(tmp_path / "zoo.h5")
    read, getitem = [], h5py.Dataset.__getitem__
    monkeypatch.setattr(
        h5py.Dataset,
        "__getitem__",
        lambda dataset, key: (read.append(dataset.name), getitem(dataset, key))[1],
    )
    zoo = Zoo.open(path)
    assert "/table/label" in read
    assert "/params" not in read
    with h5py.File(path, "r+") as file:
        file["params"][2 * SMALL.num_params : 3 * SMALL.num_params] = 7.0
    assert torch.equal(zoo.params[0][2], torch.full((SMALL.num_params,), 7.0))


def test_writing_to_parameters_does_not_change_the_file(tmp_path):
    path = make_single().save(tmp_path / "zoo.h5")
    content, zoo = path.read_bytes(), Zoo.open(path)
    zoo.params[0].zero_()
    assert zoo.params[0].abs().max() == 0
    del zoo
    assert path.read_bytes() == content


def test_take_is_a_copy_in_the_order_asked_for():
    zoo = make_mixed()
    taken = zoo.take(np.array([4, 0, 3, 4]))
    assert torch.equal(taken, zoo.params[1][[1, 2, 0, 1]])
    taken.zero_()
    assert zoo.params[1].abs().min() > 0
    assert torch.equal(zoo.take([2, 1]), zoo.params[0][[1, 0]])


@pytest.mark.parametrize(("numbers", "count"), [([0, 1], 2), ([], 0)])
def test_take_of_several_architectures_or_none(raises_saying, numbers, count):
    found = f"of {count} architectures"
    with raises_saying(asked=f"{count} networks", found=found, do="one architecture at a time"):
        make_mixed().take(numbers)


def test_indices_of_a_split(raises_saying):
    zoo = make_single()
    assert zoo.indices("train").tolist() == [0, 1, 2]
    assert zoo.indices("test").tolist() == [4, 5]
    with raises_saying(asked="'valid'", found="are: test, train, val", do="one of these"):
        zoo.indices("valid")
    with raises_saying(asked="'train'", found="are: none", do="one of these"):
        make_mixed().indices("train")


def test_keep_first_of_a_split(raises_saying):
    zoo = make_single()
    fewer = zoo.keep_first(1, split="test")
    assert fewer.table["psnr"].tolist() == zoo.table["psnr"].tolist()[:5]
    torch.testing.assert_close(fewer.take([4]), zoo.take([4]), rtol=0, atol=0)
    assert zoo.keep_first(None, split="test") is zoo
    for number in (0, 4):
        with raises_saying(asked=f"keep {number} ", found="it has 3", do="from 1 to 3"):
            zoo.keep_first(number, split="train")


def test_spec_of_a_zoo_with_one_architecture(raises_saying):
    assert make_single().spec == SMALL
    with raises_saying(asked="the architecture", found="it has 2", do="zoo.specs"):
        _ = make_mixed().spec


def test_parameters_and_table_must_fit(raises_saying):
    zoo = make_single()
    with raises_saying(asked="zoo of 6", found="table has 5 rows", do="one row per network"):
        Zoo.single(SMALL, zoo.params[0], zoo.table[:5])
    found = f"architecture 0 has {SKIP.num_params} parameters, its networks have 13"
    with raises_saying(asked="zoo of 6", found=found, do="params [N, num_params]"):
        Zoo.single(SKIP, zoo.params[0], zoo.table)


@pytest.mark.parametrize(
    ("values", "found"), [(["a", None], "nan"), ([3, "b"], "3"), ([{}, {}], "{}")]
)
def test_column_that_would_not_come_back_leaves_the_old_file(
    tmp_path, raises_saying, values, found
):
    path = make_single().save(tmp_path / "zoo.h5")
    content = path.read_bytes()
    broken = Zoo.single(SMALL, torch.randn(2, SMALL.num_params), pd.DataFrame({"kind": values}))
    with raises_saying(asked="column 'kind'", found=f"value {found} in it", do="numbers, bool"):
        broken.save(path)  # fails in the middle, the parameters being written
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("columns", [["a", "a/b"], ["a", "a"], ["", "a"], [0, "a"]])
def test_columns_that_have_no_place(tmp_path, raises_saying, columns):
    table = pd.DataFrame([[1, 2], [3, 4]], columns=columns)
    zoo = Zoo.single(SMALL, torch.randn(2, SMALL.num_params), table)
    with raises_saying(asked="save a zoo's table", found="its column", do="Rename"):
        zoo.save(tmp_path / "zoo.h5")
    assert list(tmp_path.iterdir()) == []


def test_places_where_no_file_can_be(tmp_path, raises_saying):
    (tmp_path / "file").touch()
    with raises_saying(asked=f"to {tmp_path}", found="this is a folder", do="path of a file"):
        make_single().save(tmp_path)
    with raises_saying(asked="write a zoo", found=f"{tmp_path / 'file'} is no", do="of a file"):
        make_single().save(tmp_path / "file" / "deep" / "zoo.h5")
    with raises_saying(asked=f"open {tmp_path}", found="no such file", do="Check the path"):
        Zoo.open(tmp_path)


def test_file_whose_counts_do_not_fit(tmp_path, raises_saying):
    path = make_single().save(tmp_path / "zoo.h5")
    with h5py.File(path, "r+") as file:
        file["counts"][0] += 1
    write_header(path)
    found = "parameters are not those of [7] networks"
    with raises_saying(asked=f"open {path}", found=found, do="download it again"):
        Zoo.open(path)


def test_killed_write_leaves_no_file(tmp_path, monkeypatch):
    def interrupt(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(h5py.Group, "create_dataset", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_single().save(tmp_path / "zoo.h5")
    assert list(tmp_path.iterdir()) == []


def test_missing_file(tmp_path, raises_saying):
    path = tmp_path / "zoo.h5"
    with raises_saying(asked=f"open {path}", found="no such file", do="Check the path"):
        Zoo.open(path)


@pytest.mark.parametrize("kept", [0, 100, 0.5, -1])
def test_truncated_file(tmp_path, raises_saying, kept):
    path = make_single().save(tmp_path / "zoo.h5")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept) if isinstance(kept, float) else kept])
    size = path.stat().st_size
    found = f"has {size} of {len(content)}" if size else "truncated or no HDF5 file of 0"
    with raises_saying(asked=f"open {path}", found=found, do="download it again"):
        Zoo.open(path)


def test_file_that_is_no_hdf5(tmp_path, raises_saying):
    path = tmp_path / "zoo.h5"
    path.write_text("networks" * 500)
    with raises_saying(asked=f"open {path}", found="no HDF5 file", do="download it again"):
        Zoo.open(path)


@pytest.mark.parametrize(
    ("attributes", "found"),
    [
        ({"format": "others.zoo", "version": 2}, "format is others.zoo, version 2"),
        ({"format": "nn_graphs.zoo", "version": 4}, "format is nn_graphs.zoo, version 4"),
        ({}, "format is None"),
    ],
    ids=["another format", "newer version", "any HDF5 file"],
)
def test_file_of_another_format(tmp_path, raises_saying, attributes, found):
    path = make_single().save(tmp_path / "zoo.h5")
    with h5py.File(path, "r+") as file:
        del file.attrs["format"], file.attrs["version"]
        file.attrs.update(attributes)
    write_header(path)
    with raises_saying(asked=f"open {path}", found=found, do="upgrade nn_graphs"):
        Zoo.open(path)


def test_tiny_zoo_is_complete(tiny_zoo):
    assert tiny_zoo.spec.layer_layout == (2, 8, 8, 1)
    assert tiny_zoo.table["split"].value_counts().to_dict() == {"train": 48, "val": 8, "test": 8}
    assert set(tiny_zoo.table["label"][:48]) == set(range(10))
    assert tiny_zoo.params[0].isfinite().all()


def test_activations_given_by_name_come_back_from_a_file(tmp_path):
    spec = NetworkSpec(2, [LayerSpec(8, activation="relu"), LayerSpec(1, "sigmoid")])
    table = pd.DataFrame({"label": [0, 1]})
    path = Zoo.single(spec, torch.randn(2, spec.num_params), table).save(str(tmp_path / "zoo.h5"))
    assert Zoo.open(str(path)).spec == spec
    assert Zoo.open(path).spec.layers[0].activation == Activation("relu")


def test_what_a_zoo_looks_like():
    networks = "6 networks of 1 architecture (2-3-1)"
    assert repr(make_single()) == f"Zoo({networks}, train 3 / val 1 / test 2)"
    assert repr(make_mixed()) == "Zoo(5 networks of 2 architectures)"
    one = make_single().select([3])
    assert repr(one) == "Zoo(1 network of 1 architecture (2-3-1), val 1)"
    assert repr(make_single().select([])).startswith("Zoo(0 networks of 1 architecture")
