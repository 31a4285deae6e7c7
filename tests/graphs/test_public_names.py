"""`nn_graphs.graphs` names what a user needs, and imports it when it is first asked for."""

import importlib
import subprocess
import sys

import pytest

from nn_graphs import graphs
from nn_graphs.graphs.tracing import from_module
from tests.processes import ROOT

STUB = ROOT / "nn_graphs" / "graphs" / "__init__.pyi"
ORIGINS = {  # of every name, the module that the stub takes it from
    words[3]: f"nn_graphs.graphs{words[1]}"
    for words in (line.split() for line in STUB.read_text(encoding="utf-8").splitlines())
}


def test_the_stub_and_the_package_list_the_same_names():
    assert sorted(ORIGINS) == sorted(graphs.__all__)
    assert {"trace", "GraphTemplate", "NeuralGraph", "execute", "sample_symmetries"} <= set(ORIGINS)


@pytest.mark.parametrize("name", ORIGINS)
def test_the_name_is_that_of_its_module(name):
    assert getattr(graphs, name) is getattr(importlib.import_module(ORIGINS[name]), name)


def test_no_name_is_hidden_by_a_module():
    """A file or folder of one of these names would take its place once it is imported."""
    assert not [name for name in ORIGINS if list(STUB.parent.glob(f"{name}*"))]
    assert graphs.trace is from_module.trace


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError):
        _ = graphs.template_from_module


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys; import nn_graphs.graphs as graphs; print('trace' in dir(graphs), *sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    is_listed, *modules = found.stdout.split()
    assert is_listed == "True"
    assert "nn_graphs.graphs" in modules
    assert "torch" not in modules
