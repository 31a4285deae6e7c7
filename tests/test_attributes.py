"""Attributes of imported modules exist, on paths too that no test of this machine takes."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("nn_graphs", "experiments", "data")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def missing_attributes(source: str) -> Iterator[str]:
    """What a source reads off modules, or imports from them, that they do not have."""
    tree = ast.parse(source)
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                names[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if _found(full) is None and _found(node.module) is not None:
                    yield full
                elif isinstance(_found(full), ModuleType):
                    names[alias.asname or alias.name] = full
    hidden = {node.id for node in ast.walk(tree) if _is_bound(node)}
    hidden |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        root, path = _dotted(node)
        is_known = root in names and root not in hidden and _found(names[root]) is not None
        if is_known and _is_missing(names[root], path):
            yield ".".join([names[root], *path])


def _is_bound(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)


def _dotted(node: ast.AST) -> tuple[str | None, list[str]]:
    """`a.b.c` as `("a", ["b", "c"])`."""
    path: list[str] = []
    while isinstance(node, ast.Attribute):
        path.insert(0, node.attr)
        node = node.value
    return (node.id, path) if isinstance(node, ast.Name) and path else (None, [])


def _is_missing(module: str, path: list[str]) -> bool:
    """Whether a module does not have what a path names; what objects have is not known."""
    here = _found(module)
    for stop in range(1, len(path) + 1):
        if not isinstance(here, ModuleType):
            return False
        here = _found(".".join([module, *path[:stop]]))
    return here is None


def _found(full: str) -> object | None:
    """What there is under a full name, a module or what one holds; None where there is nothing."""
    first, *rest = full.split(".")
    here: object = _module(first)
    for name in rest:
        if hasattr(here, name):
            here = getattr(here, name)
            here = True if here is None else here
        else:
            here = _module(f"{here.__name__}.{name}") if isinstance(here, ModuleType) else None
    return here


def _module(full: str) -> ModuleType | None:
    try:
        return importlib.import_module(full)
    except ImportError:
        return None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_attributes_of_modules_exist(path):
    assert not set(missing_attributes(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("import torch\ntorch.cuda.getdevice_name(0)", "torch.cuda.getdevice_name"),
        ("import torch\ntorch.cuda.get_device_name(0)", None),
        ("from torch import nn\nnn.functional.sillu", "torch.nn.functional.sillu"),
        ("from torch.nn import functional as F\nF.silu", None),
        ("import numpy as np\ndef f(np): return np.nothing", None),
        ("from os import nothing_there", "os.nothing_there"),
        ("def f():\n    import json\n    json.load_all", "json.load_all"),
    ],
)
def test_what_is_found(source, missing):
    assert list(missing_attributes(source)) == ([missing] if missing else [])
