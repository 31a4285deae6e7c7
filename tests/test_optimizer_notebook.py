"""The notebook on learned optimizers trains a network, and shows Adam beside it."""

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

NOTEBOOK = NOTEBOOKS / "learning_to_optimize.ipynb"
REPORT = """
import json
print(json.dumps({
    "losses": {name: [runs[0][0][0], runs[0][0][-1]] for name, runs in results.items()},
    "num_steps": NUM_STEPS,
}))
"""


def test_it_runs_and_trains(tmp_path):
    notebook = read(NOTEBOOK)
    settings = tmp_path / "ipython"
    found = execute(notebook, REPORT, folder=tmp_path, settings=settings, environment={})
    assert found["num_steps"] == 40
    assert set(found["losses"]) == {"learned", "Adam 0.0003", "Adam 0.001", "Adam 0.01"}
    first, last = found["losses"]["learned"]
    assert last < 0.7 * first
    assert num_figures(code_cells(notebook)) == 1
    assert not warnings_of(notebook)


def test_three_lines_are_enough():
    source = code_cells(read(NOTEBOOK))[2].source
    assert "optimizer = nn_graphs.LearnedOptimizer(module, nn_graphs.shipped_update())" in source


def test_committed_outputs_are_of_one_full_run():
    check_committed(NOTEBOOK, num_images=1, says="1437 images for training", most_bytes=500_000)


def test_the_files_it_points_to_are_there():
    assert named_files(read(NOTEBOOK))
    assert not missing_files(read(NOTEBOOK))
