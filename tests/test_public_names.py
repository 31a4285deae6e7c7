"""Folders that name what users need: every name is there, and none costs anything before it is."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import nn_graphs

PACKAGE = Path(nn_graphs.__file__).parent
STUBS = sorted(PACKAGE.rglob("__init__.pyi"))
NEEDED = {
    "nn_graphs.zoos": {
        "Zoo", "open_or_make_zoo", "open_or_read_zoo", "read_zoo", "ZooRecipe", "save_made_zoo",
        "INRRecipe", "SmallCNNRecipe", "WildCNNRecipe", "GraphDataset",
    },
    "nn_graphs.networks": {
        "NetworkSpec", "LayerSpec", "ConvSpec", "Activation", "stacked_forward", "fit_networks",
        "train_classifiers", "MaskedLinear", "MaskedConv2d",
    },
}  # fmt: skip


def package_of(stub: Path) -> str:
    return ".".join(stub.parent.relative_to(PACKAGE.parent).parts)


def named_in(stub: Path) -> dict[str, str]:
    """Names of a stub, and the modules that they are from."""
    tree = ast.parse(stub.read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname: node.module for node in imports for alias in node.names}


@pytest.mark.parametrize("stub", STUBS, ids=package_of)
def test_every_name_resolves(stub):
    package, names = importlib.import_module(package_of(stub)), named_in(stub)
    assert {*names} == {*package.__all__} <= {*dir(package)}
    for name, module in names.items():
        origin = importlib.import_module(f"{package.__name__}.{module}")
        assert getattr(package, name) is getattr(origin, name)


@pytest.mark.parametrize("package", NEEDED)
def test_what_users_need_is_there(package):
    assert NEEDED[package] <= {*importlib.import_module(package).__all__}


@pytest.mark.parametrize("stub", STUBS, ids=package_of)
def test_no_name_is_that_of_a_file_beside_it(stub):
    """Else it would be the file, once something has imported that."""
    beside = {path.stem for path in stub.parent.iterdir()}
    assert not {*named_in(stub)} & beside


LIGHT = """
import sys
import nn_graphs, nn_graphs.networks, nn_graphs.zoos
heavy = {"torch", "pandas", "sklearn", "h5py", "matplotlib", "lightning", "torch_geometric"}
print(*sorted(heavy & {*sys.modules}))
print(*sorted(name for name in sys.modules if name.startswith("nn_graphs")))
"""


def test_imports_are_light():
    run = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    heavy, own = run.stdout.split("\n")[:2]
    assert heavy == ""
    assert own.split() == ["nn_graphs", "nn_graphs.networks", "nn_graphs.zoos"]
