"""Zoo files of others, and damaged ones: nothing else is read, and it is told what is wrong."""

import json
import zlib

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.zoo import Zoo
from nn_graphs.zoos.zoo_header import HEADER_BYTES, ZooHeader

SPEC = NetworkSpec.mlp((2, 3, 1), activation="relu")
NUM_NETWORKS = 40


@pytest.fixture
def path(tmp_path):
    generator = torch.Generator().manual_seed(0)
    params = torch.randn(NUM_NETWORKS, SPEC.num_params, generator=generator)
    table = pd.DataFrame({"label": range(NUM_NETWORKS), "name": [f"net {i}" for i in range(40)]})
    return Zoo.single(SPEC, params, table).save(tmp_path / "zoo.h5")


def test_flipped_bits_and_cuts(path):
    """One bit in the structure of an HDF5 file can make its library loop for ever."""
    content, generator = path.read_bytes(), np.random.default_rng(0)
    header = ZooHeader.from_bytes(content)
    used = 44  # bytes of the header that say something
    outcomes = {"refused": 0, "in the parameters": 0, "in the unused header": 0}
    for _ in range(200):
        place, bit = generator.integers(len(content)), generator.integers(8)
        damaged = bytearray(content)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        if header.start <= place < header.end:
            outcomes["in the parameters"] += len(Zoo.open(path)) == NUM_NETWORKS
        elif used + 4 <= place < HEADER_BYTES:
            outcomes["in the unused header"] += len(Zoo.open(path)) == NUM_NETWORKS
        else:
            with pytest.raises(NNGraphsError, match="open"):
                Zoo.open(path)
            outcomes["refused"] += 1
    assert sum(outcomes.values()) == 200
    assert outcomes["refused"] > 100
    for kept in generator.integers(0, len(content), 20):
        path.write_bytes(content[:kept])
        with pytest.raises(NNGraphsError, match="open"):
            Zoo.open(path)


def replaced(name: str, **options):
    """Puts another dataset in the place of one."""

    def change(file: h5py.File) -> None:
        del file[name]
        file.create_dataset(name, **options)

    return change


def linked(name: str, link):
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = link

    return change


def external(file: h5py.File) -> None:
    del file["table/label"]
    stored = [("/etc/hostname", 0, 40)]
    file.create_dataset("table/label", shape=(40,), dtype="S1", external=stored)


def virtual(file: h5py.File) -> None:
    del file["table/label"]
    layout = h5py.VirtualLayout(shape=(40,), dtype="i8")
    layout[:] = h5py.VirtualSource("other.h5", "label", shape=(40,))
    file.create_virtual_dataset("table/label", layout)


def group_in_place(file: h5py.File) -> None:
    del file["counts"]
    file.create_group("counts")


def other_specs(content):
    return replaced("specs", data=np.frombuffer(json.dumps(content).encode(), dtype=np.uint8))


SIZE = NUM_NETWORKS * SPEC.num_params
HOSTILE = {
    "external storage": (external, "values of table/label lie in other files"),
    "virtual": (virtual, "values of table/label lie in other files"),
    "external link": (linked("params", h5py.ExternalLink("x.h5", "/a")), "params is a link"),
    "soft link": (linked("counts", h5py.SoftLink("/params")), "counts is a link to elsewhere"),
    "link of a group": (linked("table", h5py.ExternalLink("x.h5", "/")), "table is a link"),
    "integers": (replaced("params", data=np.zeros(SIZE, int)), "params has values of type int64"),
    "booleans": (replaced("params", data=np.zeros(SIZE, bool)), "values of type bool"),
    "complex": (replaced("params", data=np.zeros(SIZE, complex)), "values of type complex128"),
    "matrix": (replaced("params", data=np.zeros((1, SIZE), np.float32)), f"shape (1, {SIZE})"),
    "chunks": (replaced("params", data=np.zeros(SIZE, "f4"), chunks=(9,)), "in chunks"),
    "compressed": (
        replaced("params", data=np.zeros(SIZE, "f4"), compression="gzip"),
        "in chunks, or compressed",
    ),
    "huge": (replaced("table/label", shape=(2**33,), dtype="i8", chunks=(2**10,)), "in chunks"),
    "huge and unwritten": (replaced("table/label", shape=(2**33,), dtype="i8"), "68719476736"),
    "negative": (replaced("counts", data=[-40, 80]), "2 counts for 1 architectures"),
    "negative count": (replaced("counts", data=[-40]), "not those of [-40] networks"),
    "double": (replaced("counts", data=[80]), "not those of [80] networks"),
    "a long table": (
        lambda file: [replaced(f"table/{name}", data=np.zeros(50))(file) for name in file["table"]],
        "its table has 50 rows, for 40 networks",
    ),
    "short table": (replaced("table/label", data=np.arange(39)), "columns of 39 and 40 rows"),
    "texts for counts": (replaced("counts", data=[b"40"]), "counts has values of type object"),
    "variable texts": (
        replaced("table/name", data=["a"] * 40, dtype=h5py.string_dtype()),
        "table/name has values of type object",
    ),
    "a group": (group_in_place, "counts is no dataset"),
    "specs of a wrong type": (other_specs([{"in_width": "2", "layers": 3}]), "not iterable"),
    "specs that are none": (other_specs({"a": 1}), "its specs are a dict, no list"),
    "specs without layers": (
        other_specs([{"in_width": 7, "layers": []}]),
        "520 parameters are not those",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_plain_zoo_is_told(path, raises_saying, name):
    """Whoever writes such files writes a header that fits."""
    change, found = HOSTILE[name]
    with h5py.File(path, "r+") as file:
        change(file)
    _forge_header(path)
    with raises_saying(asked=f"open {path} as a zoo", found=found, do="again"):
        Zoo.open(path)


def _forge_header(path) -> None:
    """A header that fits whatever is there: as if there were no parameters."""
    rest = path.read_bytes()[HEADER_BYTES:]
    size = HEADER_BYTES + len(rest)
    header = ZooHeader(size, HEADER_BYTES, HEADER_BYTES, zlib.crc32(rest))
    path.write_bytes(header.to_bytes() + rest)


def _without_header(path) -> None:
    """As files were written before there were headers."""
    with h5py.File(path, "r") as old, h5py.File(f"{path}.new", "w") as new:
        new.attrs.update(old.attrs)
        for name in old:
            if isinstance(link := old.get(name, getlink=True), h5py.HardLink):
                old.copy(name, new)
            else:
                new[name] = link
    path.write_bytes((path.parent / f"{path.name}.new").read_bytes())


def test_a_file_without_a_header_opens(path):
    zoo = Zoo.open(path)
    expected = zoo.params[0].clone()  # they are mapped, and the file is written over
    _without_header(path)
    assert not path.read_bytes().startswith(b"nn_graphs")
    again = Zoo.open(path)
    assert torch.equal(again.params[0], expected)
    pd.testing.assert_frame_equal(again.table, zoo.table)
