"""Encoder files: every encoder comes back, without pickled code, in a fresh process too."""

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import nn_graphs
from nn_graphs.encoders.edge_readout import EdgeReadout
from nn_graphs.encoders.encoder_files import load_encoder, save_encoder
from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.pooled_encoder import PooledEncoder
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.graphs.positional import LaplacianEncoding, RandomFeatures, ReturnProbabilities
from tests.encoders.cases import ENCODERS, inr, networks, skipping
from tests.processes import start_program

TEMPLATES = [inr(2, 5, 4, 2), skipping()]
DIMS = GraphDims.of(TEMPLATES)


def statistics() -> WeightStatistics:
    populations = [(template, 3 + networks(template, 4).float()) for template in TEMPLATES]
    return WeightStatistics.measure(DIMS, populations)


def pooled(encoder: nn.Module, method: str = "mean") -> PooledEncoder:
    sizes = {"dims": DIMS, "node_dim": encoder.node_dim, "edge_dim": encoder.edge_dim}
    return PooledEncoder(encoder, Pooling(method, layer="all", **sizes))


def structure(**options) -> StructureEncoder:
    return StructureEncoder(TEMPLATES, statistics(), dim=8, num_heads=2, **options)


def make_vgae(**options) -> VGAE:
    torch.manual_seed(0)
    options = {"latent_dim": 5, "weight_factor": 0.5} | options
    encoder = structure(encoding=LaplacianEncoding(3, is_weighted=True, is_equivariant=True))
    return VGAE(encoder, DIMS, statistics(), **options)


def vectors(encoder: nn.Module) -> list[torch.Tensor]:
    with torch.no_grad():
        return [encoder.eval().embed(t.stack(networks(t, 3).float())) for t in TEMPLATES]


def make(name: str) -> PooledEncoder:
    torch.manual_seed(0)
    return pooled(ENCODERS[name](TEMPLATES, statistics()))


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_comes_back(tmp_path, name):
    encoder = make(name)
    found = load_encoder(save_encoder(encoder, tmp_path / "encoder.safetensors"))
    assert not found.training
    assert found.dims == DIMS
    assert all(map(torch.equal, vectors(found), vectors(encoder)))
    assert all(parameter.requires_grad for parameter in found.parameters())


@pytest.mark.parametrize(
    "encoding",
    [
        None,
        LaplacianEncoding(3, is_weighted=True, dense_below=7, is_equivariant=True),
        ReturnProbabilities(2),
        RandomFeatures(4, seed=3),
    ],
)
def test_encodings_come_back(tmp_path, encoding):
    encoder = pooled(structure(encoding=encoding), "cat_mean")
    found = load_encoder(save_encoder(encoder, tmp_path / "a.safetensors"))
    assert repr(found.encoder.encoding) == repr(encoding)
    assert all(map(torch.equal, vectors(found), vectors(encoder)))


def test_an_auto_encoder_comes_back_with_its_decoders(tmp_path):
    encoder = make_vgae().double()
    found = load_encoder(save_encoder(encoder, tmp_path / "vgae.safetensors"))
    stack = TEMPLATES[0].stack(networks(TEMPLATES[0], 3))
    with torch.no_grad():
        ours, theirs = (each.eval().losses(stack) for each in (encoder, found))
    assert all(torch.equal(vars(ours)[name], vars(theirs)[name]) for name in vars(ours))
    again = save_encoder(found, tmp_path / "again.safetensors")
    assert again.read_bytes() == (tmp_path / "vgae.safetensors").read_bytes()


def test_loading_draws_no_random_numbers(tmp_path):
    path = save_encoder(make_vgae(), tmp_path / "vgae.safetensors")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_encoder(path)
    assert torch.equal(torch.rand(3), expected)


def test_what_the_file_says(tmp_path):
    path = save_encoder(make_vgae(), tmp_path / "new folder" / "vgae.safetensors")
    assert [file.name for file in path.parent.iterdir()] == ["vgae.safetensors"]
    description = record_of(path)
    assert description["nn_graphs"] == nn_graphs.__version__
    assert description["class"] == "vgae"
    assert description["settings"]["latent_dim"] == 5
    assert description["settings"]["encoder"]["class"] == "structure"
    assert description["settings"]["pooling"] == "mean"  # a default is told too
    assert b"pickle" not in path.read_bytes()


FRESH = """
import sys
import numpy as np
import nn_graphs
from nn_graphs.zoos.zoo import Zoo
encoder, zoo = nn_graphs.load_encoder(sys.argv[1]), Zoo.open(sys.argv[2])
np.save(sys.argv[3], nn_graphs.embed(encoder, zoo))
"""


def test_in_a_fresh_process(tmp_path, tiny_zoo):
    encoder = make_vgae()
    path = nn_graphs.save_encoder(encoder, tmp_path / "vgae.safetensors")
    zoo, vectors = tiny_zoo.save(tmp_path / "zoo.h5"), tmp_path / "vectors.npy"
    process = start_program(FRESH, path, zoo, vectors)
    output = process.communicate()
    assert process.returncode == 0, output
    np.testing.assert_allclose(np.load(vectors), nn_graphs.embed(encoder, tiny_zoo), rtol=1e-5)


@registered("of_ones_own")
class OfOnesOwn(nn.Module):
    def __init__(self, templates, *, sizes=(2, 3)):
        super().__init__()
        self.dims = GraphDims.of(templates)
        self.linear = nn.Linear(*sizes)

    def embed(self, graphs):
        return self.linear(graphs.node_features[:, :2, 0])


def test_an_encoder_of_ones_own(tmp_path):
    encoder = OfOnesOwn(TEMPLATES, sizes=(2, 4))
    found = load_encoder(save_encoder(encoder, tmp_path / "own.safetensors"))
    assert isinstance(found, OfOnesOwn)
    assert all(map(torch.equal, vectors(found), vectors(encoder)))


def test_a_name_belongs_to_one_class(raises_saying):
    with raises_saying(asked="as 'vgae'", found="name of VGAE", do="another name"):
        registered("vgae")(type("Another", (nn.Module,), {}))


def test_what_has_no_name_is_not_saved(tmp_path, raises_saying):
    path = tmp_path / "a.safetensors"
    with raises_saying(asked="EdgeReadout", found="vgae", do="registered"):
        save_encoder(EdgeReadout(1, 2), path)
    encoder = OfOnesOwn(TEMPLATES, sizes=[2, np.int64(4)])
    with raises_saying(asked="the setting sizes", found="int64", do="numbers"):
        save_encoder(encoder, path)
    (tmp_path / "file").touch()
    with raises_saying(asked="save the encoder", found="cannot be written", do="another path"):
        save_encoder(make_vgae(), tmp_path / "file" / "a.safetensors")
    assert not path.exists()


def record_of(path) -> dict:
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["nn_graphs_encoder"])


def damage(path, record) -> None:
    """Writes the file again with another record in its metadata; None: without one."""
    metadata = {} if record is None else {"nn_graphs_encoder": json.dumps(record)}
    save_file(load_file(path), path, metadata)


@pytest.fixture
def path(tmp_path):
    return save_encoder(make("gnn"), tmp_path / "encoder.safetensors")


def test_a_file_of_another_version(path, raises_saying):
    damage(path, record_of(path) | {"format": 2, "nn_graphs": "9.0"})
    with raises_saying(asked=str(path), found="format 2, written by nn_graphs 9.0", do="version"):
        load_encoder(path)


def test_a_foreign_file(path, tmp_path, raises_saying):
    damage(path, None)
    with raises_saying(asked=str(path), found="not say of which encoder", do="save_encoder"):
        load_encoder(path)
    torch.save({"a": torch.zeros(2)}, tmp_path / "a.pt")
    with raises_saying(asked="a.pt", found="no file of save_encoder", do="Copy"):
        load_encoder(tmp_path / "a.pt")
    with raises_saying(asked="nothing", found="no such file", do="save_encoder"):
        load_encoder(tmp_path / "nothing")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_a_truncated_file(path, share, raises_saying):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with raises_saying(asked=str(path), found="truncated", do="Copy"):
        load_encoder(path)


def test_settings_that_fit_no_class(path, raises_saying):
    record = record_of(path)
    damage(path, {**record, "class": "pooling_of_tomorrow"})
    with raises_saying(asked="pooling_of_tomorrow", found="vgae", do="Import"):
        load_encoder(path)
    damage(path, {**record, "settings": {**record["settings"], "speed": 3}})
    with raises_saying(asked="'pooled'", found="speed", do="version"):
        load_encoder(path)
    record["settings"]["pooling"]["settings"]["method"] = "attention"
    damage(path, record)
    with raises_saying(asked=str(path), found="aggregation", do="Copy"):
        load_encoder(path)
    damage(path, [])
    with raises_saying(asked=str(path), found="metadata cannot be read", do="Copy"):
        load_encoder(path)
