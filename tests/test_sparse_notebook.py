"""The notebook on graphs and networks goes there and back, without data."""

import pytest

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

NOTEBOOK = NOTEBOOKS / "sparse_structure.ipynb"
REPORT = """
import json
print(json.dumps({
    "is_same": is_same, "num_edges": graph.num_edges, "num_weights": network.num_connections,
    "extracted": bool((extracted.layer_sizes == network.framed_structure.layer_sizes).all()),
    "change": change,
    "differences": [float(value) for value in differences.values()],
    "accuracies": accuracies, "num_left": sum(tickets[-1].report.num_left.values()),
    "params": [shrunk.num_params, shrunk.num_params_before], "num_networks": len(found),
}))
"""


def test_the_round_trip(tmp_path):
    notebook = read(NOTEBOOK)
    nowhere = {"NN_GRAPHS_DATA": str(tmp_path / "none"), "OMP_NUM_THREADS": "1"}
    settings = tmp_path / "ipython"
    found = execute(notebook, REPORT, folder=tmp_path, settings=settings, environment=nowhere)
    assert found["is_same"]
    assert found["extracted"]
    assert found["num_edges"] == found["num_weights"]
    assert max(*found["differences"], found["change"]) < 1e-5
    assert len(found["accuracies"]) == 4
    assert found["accuracies"][0] > 80
    assert found["num_left"] == round(0.1 * (2 * 16 + 16 * 16 + 16 * 2))
    assert found["params"][0] < found["params"][1]
    assert found["num_networks"] == 12
    assert num_figures(code_cells(notebook)) == 4
    assert not warnings_of(notebook)


def test_committed_outputs_are_of_one_full_run():
    check_committed(NOTEBOOK, num_images=4, says="120 networks", most_bytes=1_000_000)


@pytest.mark.parametrize("looked_at", [named_files, missing_files])
def test_the_files_it_points_to_are_there(looked_at):
    assert bool(looked_at(read(NOTEBOOK))) == (looked_at is named_files)
