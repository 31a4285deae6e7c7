"""Edges in a file are those of the graph, whatever the blocks; graphs run from their files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import EdgeFile, TracedNetwork, run_graph, stream_edges
from nn_graphs.graphs.extraction.traced_network import MAX_EDGES
from tests.graphs.convolutional import CASES


@pytest.mark.parametrize("block_size", [1, 97, 10**6])
@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_blocks_add_up_to_the_graph(tmp_path, block_size, threshold):
    case = CASES["layer norm"] if block_size == 1 else CASES["U-Net"]
    network = TracedNetwork(case.module(), case.inputs())
    graph = network.graph("unit", threshold=threshold)
    options = {"threshold": threshold, "block_size": block_size}
    path = stream_edges(network, tmp_path / "edges.h5", **options)
    with EdgeFile(path) as file:
        assert (file.num_nodes, file.num_edges) == (graph.num_nodes, graph.num_edges)
        blocks = list(file.blocks(1000))
        for name, own in (("source", "source"), ("target", "target"), ("weight", "weight")):
            found = np.concatenate([getattr(block, name) for block in blocks])
            np.testing.assert_array_equal(found, getattr(graph, own))
        found = np.concatenate([block.parameter for block in blocks])
        np.testing.assert_array_equal(found, graph.parameter_id)
        assert file.ranges == graph.ranges
        assert file.parameters == graph.parameters
        assert [layer.name for layer in file.layers] == [layer.name for layer in graph.layers]


@pytest.mark.parametrize("name", ["EfficientNet", "tokens", "group norm"])
def test_a_graph_runs_from_its_file(tmp_path, name):
    case = CASES[name]
    module = case.module()
    path = stream_edges(TracedNetwork(module, case.inputs()), tmp_path / "edges.h5")
    with EdgeFile(path) as file:
        for expected, found in zip(
            case.outputs(module), run_graph(file, *case.inputs()), strict=True
        ):
            assert np.abs(expected.numpy() - found).max() < 1e-9


def test_a_file_is_there_as_a_whole_or_not_at_all(tmp_path):
    network = TracedNetwork(CASES["layer norm"].module(), CASES["layer norm"].inputs())
    with pytest.raises(NNGraphsError, match="Make it first"):
        stream_edges(network, tmp_path / "missing" / "edges.h5")
    with pytest.raises(NNGraphsError, match="at least 0"):
        stream_edges(network, tmp_path / "edges.h5", threshold=-1)
    assert list(tmp_path.iterdir()) == []
    stream_edges(network, tmp_path / "edges.h5")
    stream_edges(network, tmp_path / "edges.h5", level="neuron")
    assert [path.name for path in tmp_path.iterdir()] == ["edges.h5"]
    with EdgeFile(tmp_path / "edges.h5") as file:
        assert file.level == "neuron"


def test_a_disk_that_is_too_small_is_told(tmp_path, monkeypatch):
    network = TracedNetwork(CASES["U-Net"].module(), CASES["U-Net"].inputs())
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)
    with pytest.raises(NNGraphsError, match="coarser level, or another disk"):
        stream_edges(network, tmp_path / "edges.h5")


def test_other_files_are_told_apart(tmp_path):
    with pytest.raises(NNGraphsError, match="no such file"):
        EdgeFile(tmp_path / "none.h5")
    other = tmp_path / "other.h5"
    other.write_text("text", encoding="utf-8")
    with pytest.raises(NNGraphsError, match="holds no edges"):
        EdgeFile(other)


RESNET = """
import resource, sys
import torch
from nn_graphs.graphs.extraction import TracedNetwork, stream_edges
from tests.graphs.extraction.residual_networks import resnet18

def held():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

network = TracedNetwork(resnet18(), torch.zeros(1, 3, 32, 32))
plan = network.plan("unit")
before = held()
stream_edges(network, sys.argv[1])
size = plan.size(0.0)
print(size.num_edges, size.num_bytes / 2**20, held() - before)
"""


@pytest.mark.slow
def test_a_resnet_on_small_images_is_streamed_out_of_memory(tmp_path):
    """More edges than a graph in memory may have; of two gigabytes, an eighth is held at most."""
    path = tmp_path / "edges.h5"
    command = [sys.executable, "-c", RESNET, str(path)]
    root = Path(__file__).parents[3]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout
    num_edges, size, held = map(float, told.split())
    assert num_edges > MAX_EDGES
    assert size > 1500
    assert held < size / 8
    with EdgeFile(path) as file:
        assert file.num_edges == num_edges
        last = file.ranges[-1]
        edges = file.edges(last.start, last.stop)
        assert (edges.target >= file.layers[-1].start).all()
    path.unlink()  # pytest keeps folders of several runs
