"""The notebook on relational graphs runs without data, and finds what it says."""

from tests.notebook_runs import (
    NOTEBOOKS,
    check_committed,
    code_cells,
    execute,
    missing_files,
    named_files,
    num_figures,
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
    check_committed(NOTEBOOK, num_images=5, says="245 networks", most_bytes=1_000_000)


def test_the_files_it_points_to_are_there():
    assert named_files(read(NOTEBOOK))
    assert not missing_files(read(NOTEBOOK))
