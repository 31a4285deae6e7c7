"""Batches made and taken apart by hand are those of torch-geometric, key by key."""

import ast
import re
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.geometric_batch import batch_of_fields, graph_sizes, run_of_graphs
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import LayerSpec, NetworkSpec

ROOT = Path(__file__).parents[2]
PRIVATE = ("_slice_dict", "_inc_dict", "_num_graphs", "_num_nodes", "_store", "_mapping")
SPECS = [
    NetworkSpec.mlp((2, 3, 2), activation=Activation("tanh")),
    NetworkSpec(1, (LayerSpec(1, has_bias=False),)),
    small_cnn_zoo_spec("relu"),
]
CASES = {"plain": ([0, 1, 0, 0, 1], False), "one": ([1], False), "kernels": ([2, 0, 1, 2], True)}


def make_graphs(name: str) -> list[NeuralGraph]:
    """Graphs of several architectures, with kernels of one size where there are any."""
    kinds, has_kernels = CASES[name]
    templates = [template_from_spec(spec) for spec in SPECS]
    graphs = []
    for seed, kind in enumerate(kinds):
        generator = torch.Generator().manual_seed(seed)
        template = templates[kind]
        stack = template.stack(torch.randn(1, template.num_params, generator=generator))
        graphs.append((template.centred(stack, (3, 3)) if has_kernels else stack)[0])
    return graphs


def assert_same_batch(found: NeuralGraph, expected: NeuralGraph) -> None:
    """All fields, and all that torch-geometric remembers for taking the batch apart."""
    assert type(found) is type(expected)
    assert found.num_graphs == expected.num_graphs
    assert found.num_nodes == expected.num_nodes
    assert sorted(found.keys()) == sorted(expected.keys())
    for key in expected.keys():  # noqa: SIM118 (iterating over data gives pairs)
        assert_same(found[key], expected[key], key)
    assert found._num_nodes == expected._num_nodes
    for name in ("_slice_dict", "_inc_dict"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        for key in found._slice_dict:
            assert_same(mine[key], theirs[key], f"{name} of {key}")
    for one, other in zip(found.to_data_list(), expected.to_data_list(), strict=True):
        assert sorted(one.keys()) == sorted(other.keys())
        for key in other.keys():  # noqa: SIM118
            assert_same(one[key], other[key], key)


def assert_same(found, expected, key: str) -> None:
    if isinstance(expected, Tensor):
        assert found.dtype == expected.dtype, key
        assert torch.equal(found, expected), key
    else:
        assert found == expected, key


@pytest.mark.parametrize("name", CASES)
def test_a_batch_of_fields_is_that_of_the_graphs(name):
    graphs = make_graphs(name)
    expected = Batch.from_data_list(graphs)
    fields = {
        key: expected[key]
        for key in graphs[0].keys()  # noqa: SIM118
        if key != "num_nodes"
    }
    num_nodes = torch.tensor([graph.num_nodes for graph in graphs])
    num_edges = torch.tensor([graph.num_edges for graph in graphs])
    found = batch_of_fields(fields, num_nodes=num_nodes, num_edges=num_edges)
    assert_same_batch(found, expected)


@pytest.mark.parametrize("name", CASES)
def test_a_run_of_graphs_is_a_batch_of_them(name):
    graphs = make_graphs(name)
    batch = Batch.from_data_list(graphs)
    for start in range(len(graphs)):
        for stop in range(start + 1, len(graphs) + 1):
            expected = Batch.from_data_list(graphs[start:stop])
            assert_same_batch(run_of_graphs(batch, start, stop), expected)


def test_a_run_of_a_run():
    batch = Batch.from_data_list(make_graphs("plain"))
    run = run_of_graphs(run_of_graphs(batch, 1, 5), 1, 3)
    assert_same_batch(run, run_of_graphs(batch, 2, 4))


def test_a_run_is_no_copy():
    batch = Batch.from_data_list(make_graphs("plain"))
    run = run_of_graphs(batch, 1, 3)
    assert run.x.data_ptr() == batch.x[batch.ptr[1] :].data_ptr()


@pytest.mark.parametrize("name", CASES)
def test_sizes_are_those_of_the_graphs(name):
    graphs = make_graphs(name)
    num_nodes, num_edges = graph_sizes(Batch.from_data_list(graphs))
    assert num_nodes.tolist() == [graph.num_nodes for graph in graphs]
    assert num_edges.tolist() == [graph.num_edges for graph in graphs]


def test_another_number_of_neurons_is_another_batch():
    """Control: the comparison does look at where graphs begin."""
    expected = Batch.from_data_list(make_graphs("plain"))
    fields = {key: expected[key] for key in ("x", "edge_index", "edge_attr")}
    num_nodes, num_edges = graph_sizes(expected)
    right = batch_of_fields(fields, num_nodes=num_nodes, num_edges=num_edges)
    wrong = batch_of_fields(fields, num_nodes=num_nodes.flip(0), num_edges=num_edges)
    assert_same(right.ptr, expected.ptr, "ptr")
    with pytest.raises(AssertionError):
        assert_same_batch(wrong, right)


def allowed_versions() -> Requirement:
    """What setup.py says of torch-geometric."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    (text,) = (t for t in texts if isinstance(t, str) and t.startswith("torch-geometric"))
    return Requirement(text)


def fault(installed: str, batch: NeuralGraph) -> str | None:
    """Why batches cannot be made by hand with a version of torch-geometric."""
    allowed = allowed_versions().specifier
    advice = (
        "Run this file with it; where it passes, raise the limit in setup.py, else mend "
        "nn_graphs/graphs/geometric_batch.py."
    )
    if not allowed.contains(installed):
        return f"torch-geometric {installed} is installed, setup.py allows {allowed}. {advice}"
    missing = [name for name in PRIVATE if not hasattr(batch, name)]
    if missing:
        return f"batches of torch-geometric {installed} have no {', '.join(missing)}. {advice}"
    return None


def test_the_installed_version_has_been_tried_and_has_the_private_fields():
    found = fault(version("torch-geometric"), Batch.from_data_list(make_graphs("plain")))
    assert found is None, found


def test_versions_and_fields_that_have_not_been_tried_are_told():
    batch = Batch.from_data_list(make_graphs("plain"))
    bounds = sorted(allowed_versions().specifier, key=str)
    assert [bound.operator for bound in bounds] == ["<", ">="]
    assert fault(bounds[1].version, batch) is None
    for untried in (bounds[0].version, f"{bounds[0].version}.3", "2.5.3", "3.0"):
        assert f"torch-geometric {untried} is installed" in fault(untried, batch)
    no_batch = make_graphs("one")[0]
    assert "have no _slice_dict, _inc_dict, _num_graphs" in fault(bounds[1].version, no_batch)


def test_no_other_file_touches_the_private_fields():
    names = re.compile(rf"\b({'|'.join((*PRIVATE, '_base_cls'))})\b")
    touching = {
        path.name
        for path in (ROOT / "nn_graphs").rglob("*.py")
        if names.search(path.read_text(encoding="utf-8"))
    }
    assert touching == {"geometric_batch.py"}
