"""The notebook on relational graphs runs without data, and finds what it says."""

import re

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

NOTEBOOK = NOTEBOOKS / "relational_graphs.ipynb"
REPORT = """
import json
print(json.dumps({
    "num_runs": len(runs), "num_graphs": len(spot.candidates), "num_kept": spot.num_kept,
    "mean_error": errors["error"].mean(), "is_published": published is not None,
}))
"""


def test_it_runs_without_data(tmp_path):
    notebook = read(NOTEBOOK)
    nowhere = {"NN_GRAPHS_DATA": str(tmp_path / "none")}
    settings = tmp_path / "ipython"
    found = execute(notebook, REPORT, folder=tmp_path, settings=settings, environment=nowhere)
    assert (found["num_runs"], found["num_graphs"]) == (26, 12)
    assert 1 <= found["num_kept"] <= 12
    assert found["mean_error"] < 70  # chance is 90
    assert not found["is_published"]
    assert num_figures(code_cells(notebook)) == 2
    assert not warnings_of(notebook)


def test_committed_outputs_are_of_one_full_run():
    cells = code_cells(read(NOTEBOOK))
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert num_figures(cells) == 5
    texts = "".join(output.get("text", "") for output in outputs_of(cells))
    assert "245 networks" in texts
    assert not re.search(r"(?<!\w)/\w+/\w+/", texts)
    assert NOTEBOOK.stat().st_size < 1_000_000


def test_the_files_it_points_to_are_there():
    assert named_files(read(NOTEBOOK))
    assert not missing_files(read(NOTEBOOK))
