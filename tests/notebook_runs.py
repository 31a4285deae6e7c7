"""Notebooks as the tests see them: read, executed with fewer networks, looked at."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")
pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs_of(cells: Sequence) -> list:
    return [output for cell in cells for output in cell.outputs]


def num_figures(cells: Sequence) -> int:
    return sum("image/png" in output.get("data", {}) for output in outputs_of(cells))


def warnings_of(notebook) -> list[str]:
    """What was written to the error stream."""
    outputs = outputs_of(code_cells(notebook))
    return [output["text"] for output in outputs if output.get("name") == "stderr"]


def execute(
    notebook, report: str, *, folder: Path, settings: Path, environment: Mapping[str, str]
) -> dict:
    """Runs all cells in a kernel of its own, quickly, and then a cell that prints JSON.

    Args:
        notebook: whose outputs are replaced.
        report: the code of the last cell, which the notebook does not keep.
        folder: in which it runs.
        settings: a folder for those of IPython.
        environment: more variables.

    Returns:
        What the last cell printed.
    """
    notebook.cells.append(nbformat.v4.new_code_cell(report))
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    ours = {
        "NN_GRAPHS_NOTEBOOK_QUICK": "1",
        "NN_GRAPHS_PROGRESS": "0",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(settings),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**ours, **environment}.items():
            patch.setenv(name, value)
        client = nbclient.NotebookClient(
            notebook,
            timeout=500,
            startup_timeout=300,  # a busy machine starts kernels slowly
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute()  # raises what a cell raises
    return json.loads("".join(output.get("text", "") for output in notebook.cells.pop().outputs))


def check_committed(path: Path, *, num_images: int, says: str, most_bytes: int) -> None:
    """That the committed outputs are of one full run, without warnings or paths of a machine."""
    notebook = read(path)
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert num_figures(cells) == num_images
    texts = "".join(output.get("text", "") for output in outputs_of(cells))
    assert says in texts
    assert not re.search(r"(?<!\w)/\w+/\w+/", texts)
    assert not warnings_of(notebook)
    assert path.stat().st_size < most_bytes


def named_files(notebook) -> list[str]:
    """The files of the project that its texts point to."""
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.findall(r"[\w/]+/[\w/]+\.(?:py|md)\b", text)


def missing_files(notebook) -> list[str]:
    """Those of `named_files` that are not there."""
    return [name for name in named_files(notebook) if not (ROOT / name).exists()]
