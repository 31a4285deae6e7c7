"""The notebook on structure and performance runs without data, and finds what it says."""

import json
import re
from pathlib import Path

import pytest

nbclient = pytest.importorskip("nbclient", reason="needs the extra `notebooks`")
nbformat = pytest.importorskip("nbformat", reason="needs the extra `notebooks`")
pytest.importorskip("ipykernel", reason="needs the extra `notebooks`")

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "structure_performance.ipynb"
REPORT = """
import json
print(json.dumps({
    "num_networks": len(zoo), "dim": embedding.shape[1], "recall": recall, "num_brains": len(names),
    "scores": {name: {p: s.mean() for p, s in one.items()} for name, one in scores.items()},
    "chance": selection[selection["way"] == "chance"]["rate"].tolist(),
}))
"""


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def num_figures(notebook) -> int:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return sum("image/png" in output.get("data", {}) for output in outputs)


def test_it_runs_without_data(tmp_path, monkeypatch):
    notebook = read()
    notebook.cells.append(nbformat.v4.new_code_cell(REPORT))
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None
    monkeypatch.setenv("NN_GRAPHS_NOTEBOOK_QUICK", "1")
    monkeypatch.setenv("NN_GRAPHS_PROGRESS", "0")
    monkeypatch.setenv("NN_GRAPHS_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    client = nbclient.NotebookClient(
        notebook, timeout=500, startup_timeout=300, kernel_name="python3",
        resources={"metadata": {"path": tmp_path}},
    )  # fmt: skip
    client.execute()
    found = json.loads(notebook.cells.pop().outputs[0]["text"])
    assert (found["num_networks"], found["dim"], found["num_brains"]) == (9 * 6, 16, 0)
    assert len(found["scores"]) == 6
    assert all(abs(value) <= 1 for one in found["scores"].values() for value in one.values())
    assert found["scores"]["statnn_statistics"]["random"] > 0.7
    assert found["chance"] == pytest.approx([0.25] * len(found["chance"]))
    as_they_are, permuted = found["recall"]["weights"]
    assert as_they_are > 0.95 > permuted
    assert num_figures(notebook) == 3
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [output["text"] for output in outputs if output.get("name") == "stderr"]


def test_committed_outputs_are_of_one_full_run():
    notebook = read()
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == [*range(1, len(cells) + 1)]
    assert num_figures(notebook) == 4
    outputs = [output for cell in cells for output in cell.outputs]
    texts = "".join(output.get("text", "") for output in outputs)
    assert "216 networks of 18 runs" in texts
    assert not re.search(r"(?<!\w)/\w+/\w+/", texts)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert NOTEBOOK.stat().st_size < 1_000_000


def test_the_files_it_points_to_are_there():
    text = "\n".join(cell.source for cell in read().cells if cell.cell_type == "markdown")
    named = re.findall(r"[\w/]+/[\w/]+\.(?:py|md)\b", text)
    assert named
    assert not [name for name in named if not (ROOT / name).exists()]
