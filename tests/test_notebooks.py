"""The introduction runs from top to bottom, shows its figures, and finds what it says.

It is executed in a kernel of its own with fewer networks; the outputs that are committed with it
come from a full run.
"""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")
pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")

ROOT = Path(__file__).parents[1]
INTRO = ROOT / "notebooks" / "intro.ipynb"
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


def read_intro():
    return nbformat.read(INTRO, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(cell) -> str:
    """What a cell printed or returned, as text."""
    shown = [output.get("text", "") for output in cell.outputs]
    shown += [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(shown)


def num_figures(cell) -> int:
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def num_plots(cell) -> int:
    """How many figures the code of a cell makes."""
    return len(re.findall(r"^plot_\w+\(", cell.source, re.MULTILINE))


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """The executed notebook, what it found (see `REPORT`), and the folder that it ran in."""
    folder, settings = tmp_path_factory.mktemp("run"), tmp_path_factory.mktemp("ipython")
    notebook = read_intro()
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NN_GRAPHS_NOTEBOOK_QUICK", "1")
        patch.setenv("NN_GRAPHS_PROGRESS", "0")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("IPYTHONDIR", str(settings))
        client = nbclient.NotebookClient(
            notebook,
            timeout=500,
            startup_timeout=300,  # a busy machine starts kernels slowly
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute()  # raises what a cell raises
    return notebook, json.loads(texts(notebook.cells.pop())), folder


def test_it_runs_without_warnings(executed):
    notebook, _, _ = executed
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert outputs
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]


def test_it_shows_its_figures(executed):
    notebook, _, _ = executed
    cells = code_cells(notebook)
    assert [num_figures(cell) for cell in cells] == [num_plots(cell) for cell in cells]
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
    cells = code_cells(read_intro())
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert [num_figures(cell) for cell in cells] == [num_plots(cell) for cell in cells]
    assert any("1400 networks" in texts(cell) for cell in cells)
    streams = [output.get("name") for cell in cells for output in cell.outputs]
    assert "stderr" not in streams
    assert not any(output.output_type == "error" for cell in cells for output in cell.outputs)


def test_it_is_small_and_tells_nothing_of_the_machine():
    assert INTRO.stat().st_size < MAX_BYTES
    cells = code_cells(read_intro())
    assert not [cell.source for cell in cells if re.search(r"(?<!\w)/\w+/\w+/", texts(cell))]


def test_the_files_it_points_to_are_there():
    text = "\n".join(cell.source for cell in read_intro().cells if cell.cell_type == "markdown")
    named = re.findall(r"[\w/]+/[\w/]+\.(?:py|md)\b", text)
    assert len(named) >= 5
    assert not [name for name in named if not (ROOT / name).exists()]


# Its first cell.


@pytest.fixture
def install(monkeypatch, tmp_path):
    """`install(repository)` runs the first cell, without the package, from `folder/notebooks`."""
    folder, calls = tmp_path / "somewhere", []
    (folder / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(folder / "notebooks")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: calls.append(command))
    first = code_cells(read_intro())[0].source

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
    exec(code_cells(read_intro())[0].source, {})
