"""What the packages offer at their top is there, and is imported only when it is asked for."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import nn_graphs

PACKAGE = Path(nn_graphs.__file__).parent
STUBS = sorted(PACKAGE.rglob("__init__.pyi"))
LAZY = ("tasks", "training", "encoders")


def names_in(stub: Path) -> list[str]:
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    return [
        alias.asname
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def module_of(stub: Path) -> str:
    return ".".join(["nn_graphs", *stub.parent.relative_to(PACKAGE).parts])


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_every_name_resolves(stub):
    module, names = importlib.import_module(module_of(stub)), names_in(stub)
    assert len(names) >= 3
    assert set(names) <= set(module.__all__)
    for name in names:
        assert hasattr(module, name)


def test_packages_that_have_a_surface():
    assert {f"nn_graphs.{name}" for name in LAZY} <= {module_of(stub) for stub in STUBS}


@pytest.mark.parametrize("name", LAZY)
def test_nothing_is_imported_before_it_is_asked_for(name):
    code = f"import sys, nn_graphs.{name}; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "False"
