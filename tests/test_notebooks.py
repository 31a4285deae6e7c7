"""The introduction runs from top to bottom, shows its figures, and finds what it says.

It is executed in a kernel of its own with fewer networks; the outputs that are committed with it
come from a full run.
"""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.notebook_runs import (
    NOTEBOOKS,
    code_cells,
    execute,
    missing_files,
    named_files,
    num_figures,
    outputs_of,
    read,
    warnings_of,
)

INTRO = NOTEBOOKS / "intro.ipynb"
MAX_BYTES = 1_000_000
REPORT = """
import json
print(json.dumps({
    "ng_gnn": [outcome.val["accuracy"], outcome.test["accuracy"]],
    "flat_mlp": [baseline.val["accuracy"], baseline.test["accuracy"]],
    "invariance_error": invariance_error,
    "image_change": image_change,
    "num_networks": len(zoo),
    "folder": str(folder),
}))
"""


def texts(cell) -> str:
    """What a cell printed or returned, as text."""
    shown = [output.get("text", "") for output in cell.outputs]
    shown += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(shown)


def num_plots(cell) -> int:
    """How many figures the code of a cell makes."""
    return len(re.findall(r"^plot_\w+\(", cell.source, re.MULTILINE))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The executed notebook, what it found (see `REPORT`), and the folder that it ran in."""
    folder, settings = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("ipython")
    notebook = read(INTRO)
    found = execute(notebook, REPORT, folder=folder, settings=settings, environment={})
    return notebook, found, folder


def test_it_runs_without_warnings(executed):
    notebook, _, _ = executed
    assert outputs_of(code_cells(notebook))
    assert not warnings_of(notebook)


def test_it_shows_its_figures(executed):
    notebook, _, _ = executed
    cells = code_cells(notebook)
    assert [num_figures([cell]) for cell in cells] == [num_plots(cell) for cell in cells]
    assert sum(map(num_plots, cells)) >= 7


def test_it_finds_what_it_says(executed):
    _, found, _ = executed
    assert found["num_networks"] < 1000  # it was asked to be quick
    assert found["invariance_error"] < 1e-12  # in float64
    assert found["image_change"] < 1e-5
    assert min(found["ng_gnn"]) > 25  # chance is 10
    assert min(found["ng_gnn"]) > max(found["flat_mlp"])


def test_it_leaves_nothing_behind(executed):
    _, found, folder = executed
    assert not list(folder.iterdir())
    assert not Path(found["folder"]).exists()


# What is committed.


def test_committed_outputs_are_of_one_full_run():
    cells = code_cells(read(INTRO))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert [num_figures([cell]) for cell in cells] == [num_plots(cell) for cell in cells]
    assert any("1400 networks" in texts(cell) for cell in cells)
    assert not warnings_of(read(INTRO))
    assert not any(output.output_type == "error" for output in outputs_of(cells))


def test_it_is_small_and_tells_nothing_of_the_machine():
    assert INTRO.stat().st_size < MAX_BYTES
    cells = code_cells(read(INTRO))
    assert not [cell.source for cell in cells if re.search(r"(?<!\w)/\w+/\w+/", texts(cell))]


def test_the_files_it_points_to_are_there():
    assert len(named_files(read(INTRO))) >= 5
    assert not missing_files(read(INTRO))


# Its first cell.


@pytest.fixture
def install(monkeypatch, tmp_path):
    """`install(repository)` runs the first cell, without the package, from `folder/notebooks`."""
    folder, calls = tmp_path / "somewhere", []
    (folder / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(folder / "notebooks")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    first = code_cells(read(INTRO))[0].source

    def run(repository: str = "") -> str:
        exec(first.replace('REPOSITORY = ""', f"REPOSITORY = {repository!r}"), {})
        (command,) = calls
        assert command[:4] == [sys.executable, "-m", "pip", "install"]
        return command[-1]

    run.folder = folder
    return run


def test_the_first_cell_installs_the_checkout(install):
    (install.folder / "nn_graphs").mkdir()
    (install.folder / "nn_graphs" / "__init__.py").touch()
    assert install() == str(install.folder)


def test_the_first_cell_installs_from_an_address(install):
    assert install("https://example.org/nn_graphs") == "git+https://example.org/nn_graphs"


def test_the_first_cell_asks_for_the_address(install):
    with pytest.raises(RuntimeError, match="REPOSITORY"):
        install()


def test_the_first_cell_does_nothing_where_the_package_is(monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it installs"))
    exec(code_cells(read(INTRO))[0].source, {})
