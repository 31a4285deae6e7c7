"""The notebook on structure and performance runs without data, and finds what it says."""

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

NOTEBOOK = NOTEBOOKS / "structure_performance.ipynb"
REPORT = """
import json
print(json.dumps({
    "num_networks": len(zoo), "dim": embedding.shape[1], "recall": recall, "num_brains": len(names),
    "scores": {name: {p: s.mean() for p, s in one.items()} for name, one in scores.items()},
    "chance": selection[selection["way"] == "chance"]["rate"].tolist(),
}))
"""


def test_it_runs_without_data(tmp_path):
    notebook = read(NOTEBOOK)
    nowhere = {"NN_GRAPHS_DATA": str(tmp_path / "none")}
    settings = tmp_path / "ipython"
    found = execute(notebook, REPORT, folder=tmp_path, settings=settings, environment=nowhere)
    assert (found["num_networks"], found["dim"], found["num_brains"]) == (9 * 6, 16, 0)
    assert len(found["scores"]) == 6
    assert all(abs(value) <= 1 for one in found["scores"].values() for value in one.values())
    assert found["scores"]["statnn_statistics"]["random"] > 0.7
    assert found["chance"] == pytest.approx([0.25] * len(found["chance"]))
    as_they_are, permuted = found["recall"]["weights"]
    assert as_they_are > 0.95 > permuted
    assert num_figures(code_cells(notebook)) == 3
    assert not warnings_of(notebook)


def test_committed_outputs_are_of_one_full_run():
    check_committed(NOTEBOOK, num_images=4, says="216 networks of 18 runs", most_bytes=1_000_000)


def test_the_files_it_points_to_are_there():
    assert named_files(read(NOTEBOOK))
    assert not missing_files(read(NOTEBOOK))
