"""Imports only go down the floors of docs/architecture.md; the library stays a library.

Imports for type annotations alone count like all others.
"""

import ast
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import nn_graphs

PACKAGE = Path(nn_graphs.__file__).parent
FLOORS = (
    {
        "described_tensors",
        "errors",
        "fingerprint",
        "locks",
        "memory",
        "progress",
        "ranges",
        "records",
        "threads",
    }
    | {"whole_files", "workers"},
    {"download", "structure", "datasets", "image_edits"},
    {"networks"},
    {"graphs"},
    {"zoos"},
    {"encoders"},
    {"metrics", "plotting", "tasks", "graph_drawings", "learned_optimizers"},
    {"training", "results", "testing", "relational_results"}
    | {
        "boosted_trees",
        "best_statistic",
        "regressor_training",
        "structure_performance",
        "sparse_structure",
        "zoo_audit",
    },
    {"by_name", "configs"},
    {"command_line"},
    {"__init__"},
)
FLOOR = {unit: number for number, units in enumerate(FLOORS) for unit in units}
FOREIGN = {"hydra", "experiments"}
KNOWS_HYDRA = "by_name"  # what composes configs
MODULES = sorted(PACKAGE.rglob("*.py"))


def unit_of(parts: tuple[str, ...]) -> str:
    """The folder or file right under nn_graphs in which a module lies."""
    return parts[0].removesuffix(".py")


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
    for node in ast.walk(ast.parse(source)):
        for name in imported_modules(node, package):
            root, *below = name.split(".")
            if root in FOREIGN and (unit_of(parts), root) != (KNOWS_HYDRA, "hydra"):
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
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from nn_graphs.zoos import zoo",
        "import hydra",
        "from hydra.utils import instantiate",
        "import experiments.support",
        "def late():\n    print('done')",
    ],
)
def test_the_check_sees(source):
    assert len(faults(source, ("graphs", "execution.py"))) == 1


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
        "if TYPE_CHECKING:\n    from nn_graphs.networks.spec import NetworkSpec",
    ],
)
def test_the_check_lets_pass(source):
    assert faults(source, ("graphs", "execution.py")) == []


GRAPHS = PACKAGE / "graphs"
FOLDERS = tuple(path.name for path in sorted(GRAPHS.iterdir()) if (path / "__init__.py").exists())


def sources_of_graphs() -> dict[tuple[str, ...], str]:
    """The text of every module, and of the stub, under nn_graphs by its path."""
    paths = [*GRAPHS.rglob("*.py"), GRAPHS / "__init__.pyi"]
    return {path.relative_to(PACKAGE).parts: path.read_text(encoding="utf-8") for path in paths}


def module_name(parts: tuple[str, ...]) -> str:
    """Full name of a module, or of the package whose __init__ it is."""
    stem = parts[-1].removesuffix(".py")
    return ".".join(["nn_graphs", *parts[:-1], *([] if stem == "__init__" else [stem])])


def needed_modules(sources: Mapping[tuple[str, ...], str]) -> dict[str, set[str]]:
    """For every module, those that must be there before it.

    These are what its import statements name, and the packages in which that lies, unless it lies
    in them itself. A name of a stub is the module that it comes from.
    """
    modules = {module_name(parts): parts for parts in sources if parts[-1].endswith(".py")}
    surface: dict[str, str] = {}
    for parts, source in sources.items():
        if parts[-1].endswith(".pyi"):
            package = ("nn_graphs", *parts[:-1])
            for node in ast.parse(source).body:
                for full in imported_modules(node, package):
                    surface[".".join([*package, full.split(".")[-1]])] = full
    needed: dict[str, set[str]] = {}
    for name, parts in modules.items():
        package = ("nn_graphs", *parts[:-1])
        found = {
            surface.get(full, full)
            for node in ast.walk(ast.parse(sources[parts]))
            for full in imported_modules(node, package)
        }
        prefixes = {
            ".".join(full.split(".")[:length])
            for full in found
            for length in range(1, full.count(".") + 2)
        }
        own = {".".join(package[:length]) for length in range(1, len(package) + 1)}
        used = {full for full in found if full in own and full != name}  # a package's own names
        needed[name] = (prefixes & modules.keys()) - own - {name} | used
    return needed


def circle(sources: Mapping[tuple[str, ...], str]) -> list[str]:
    """Modules that need each other, the first again at the end; none: an empty list."""
    try:
        TopologicalSorter(needed_modules(sources)).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def test_modules_of_graphs_do_not_need_each_other_in_a_circle():
    sources = sources_of_graphs()
    assert sum(map(len, needed_modules(sources).values())) > 100
    assert circle(sources) == []


A, B = ("graphs", "a.py"), ("graphs", "b.py")
TOP, STUB = ("graphs", "__init__.py"), ("graphs", "__init__.pyi")
INNER, INSIDE = ("graphs", "inner", "__init__.py"), ("graphs", "inner", "c.py")
IMPORT_B = "from nn_graphs.graphs.b import B"


@pytest.mark.parametrize(
    "sources",
    [
        {A: IMPORT_B, B: "from nn_graphs.graphs.a import A"},
        {A: IMPORT_B, B: "if TYPE_CHECKING:\n    from nn_graphs.graphs.a import A"},
        {A: IMPORT_B, B: "def late():\n    from nn_graphs.graphs import a"},
        {A: IMPORT_B, B: "from . import a"},
        {A: "from .inner.c import C", INSIDE: "", INNER: "from ..a import A"},
        {A: IMPORT_B, B: "from . import A", TOP: "", STUB: "from .a import A as A"},
    ],
)
def test_the_check_sees_a_circle(sources):
    first, *others = circle(sources)
    assert first in others


@pytest.mark.parametrize(
    "sources",
    [
        {A: IMPORT_B, B: "import torch"},
        {A: IMPORT_B, B: "", TOP: "", STUB: "from .a import A as A"},
        {A: "from .inner import C", INSIDE: "", INNER: "from .c import C"},
    ],
)
def test_the_check_for_circles_lets_pass(sources):
    assert circle(sources) == []


def test_folders_of_graphs_do_not_need_each_other_in_a_circle():
    """What they hold can be read from the bottom up."""
    needed: dict[str, set[str]] = {}
    for name, others in needed_modules(sources_of_graphs()).items():
        units = {folder_of(full) for full in others}
        needed.setdefault(folder_of(name), set()).update(units - {folder_of(name)})
    assert set(FOLDERS) <= set(needed)
    TopologicalSorter(needed).prepare()


def folder_of(name: str) -> str:
    """The folder or file right under nn_graphs/graphs in which a module lies."""
    return [*name.split("."), "__init__"][2]


def test_no_file_has_the_name_of_another():
    names: dict[str, list[str]] = {}
    for path in MODULES:
        if path.stem != "__init__":
            names.setdefault(path.stem, []).append(str(path.relative_to(PACKAGE)))
    assert [paths for paths in names.values() if len(paths) > 1] == []
