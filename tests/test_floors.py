"""Imports only go down the floors of docs/architecture.md; the library stays a library."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import nn_graphs

PACKAGE = Path(nn_graphs.__file__).parent
FLOORS = (
    {"errors", "fingerprint", "memory", "progress", "records", "threads", "workers"},
    {"download", "structure", "datasets"},
    {"networks"},
    {"graphs"},
    {"zoos"},
    {"encoders"},
    {"metrics", "plotting", "tasks"},
    {"training", "results", "testing", "relational_results"} | {"boosted_trees", "best_statistic"},
    {"__init__"},
)
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units}
FOREIGN = {"hydra", "experiments"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def unit_of(parts: tuple[str, ...]) -> str:
    """The folder or file right under nn_graphs in which a module lies."""
    return parts[0].removesuffix(".py")


def running_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, in functions too, but for the bodies of `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            child = ast.Module(body=child.orelse, type_ignores=[])
        yield child
        yield from running_nodes(child)


def imported_modules(node: ast.AST, package: tuple[str, ...]) -> list[str]:
    """Full names of what an import statement names, relative ones resolved in `package`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = package[: len(package) - node.level + 1] if node.level else ()
    origin = [*base, *([node.module] if node.module else [])]
    return [".".join([*origin, alias.name]) for alias in node.names]


def faults(source: str, parts: tuple[str, ...]) -> list[str]:
    """What a module, at `parts` under nn_graphs, does against the rules."""
    package, floor, found = ("nn_graphs", *parts[:-1]), FLOOR[unit_of(parts)], []
    for node in running_nodes(ast.parse(source)):
        for name in imported_modules(node, package):
            root, *below = name.split(".")
            if root in FOREIGN:
                found.append(f"line {node.lineno} imports {name}")
            elif root == "nn_graphs":
                unit = below[0] if below and below[0] in FLOOR else "__init__"
                if FLOOR[unit] > floor:
                    found.append(f"line {node.lineno} imports {name}, from above")
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
            found.append(f"line {node.lineno} prints")
    return found


def test_every_module_has_a_floor():
    units = {unit_of(path.relative_to(PACKAGE).parts) for path in MODULES}
    assert {"errors", "networks", "zoos"} <= units
    assert units <= set(FLOOR), "give the new module a floor, here and in docs/architecture.md"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_keeps_to_its_floor(path):
    assert faults(path.read_text(encoding="utf-8"), path.relative_to(PACKAGE).parts) == []


@pytest.mark.parametrize(
    "source",
    [
        "import nn_graphs.zoos.zoo",
        "from nn_graphs.zoos import zoo",
        "from nn_graphs import zoos",
        "from nn_graphs import Zoo",
        "from ..zoos.zoo import Zoo",
        "from .. import zoos",
        "def late():\n    from nn_graphs.zoos.zoo import Zoo",
        "class Late:\n    def late(self):\n        import nn_graphs.training",
        "if TYPE_CHECKING:\n    pass\nelse:\n    import nn_graphs.zoos",
        "import hydra",
        "from hydra.utils import instantiate",
        "import experiments.configs",
        "def late():\n    print('done')",
    ],
)
def test_the_check_sees(source):
    assert len(faults(source, ("graphs", "trace.py"))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "from nn_graphs.errors import NNGraphsError",
        "from nn_graphs import networks",
        "from nn_graphs.graphs import topology",
        "from . import topology",
        "from ..networks.spec import NetworkSpec",
        "import torch",
        "bar.print('done')",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nn_graphs.zoos import zoo",
    ],
)
def test_the_check_lets_pass(source):
    assert faults(source, ("graphs", "trace.py")) == []
