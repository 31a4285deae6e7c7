"""The benchmark scripts run and write rows that say what was measured."""

import dataclasses
import os
import subprocess
import sys

import pandas as pd
import pytest
from support.benchmarks import SpeedRow, record, seconds
from support.paths import EXPERIMENTS

COLUMNS = [field.name for field in dataclasses.fields(SpeedRow)]
TINY = {
    "bench_fitting.py": ["--num-plain", "1", "--num-chunks", "1", "--num-steps", "2"],
    "bench_zoo_reading.py": ["--num-networks", "20"],
}


def test_every_script_is_run_here():
    scripts = (EXPERIMENTS / "benchmarks").glob("bench_*.py")
    assert {script.name for script in scripts} == set(TINY)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, tuple[str, pd.DataFrame]]:
    """What each script prints and writes; they run at the same time."""
    folder = tmp_path_factory.mktemp("benchmarks")
    empty = folder / "data"
    environment = {
        "OMP_NUM_THREADS": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "NN_GRAPHS_DATA": str(empty),
        "NN_GRAPHS_PROGRESS": "0",
    }
    processes = {
        script: subprocess.Popen(
            [sys.executable, script, *options, "--results", str(folder / f"{script}.csv")],
            cwd=EXPERIMENTS / "benchmarks",
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for script, options in TINY.items()
    }
    found = {}
    for script, process in processes.items():
        output, _ = process.communicate(timeout=240)
        assert process.returncode == 0, output
        found[script] = output, pd.read_csv(folder / f"{script}.csv")
    return found


@pytest.mark.parametrize("script", TINY)
def test_script_writes_a_row(outputs, script):
    output, table = outputs[script]
    assert list(table.columns) == COLUMNS
    (row,) = table.to_dict("records")
    assert row["plain"] > 0
    assert row["ours"] > 0
    is_rate = row["unit"].endswith("/s")
    ratio = row["ours"] / row["plain"] if is_rate else row["plain"] / row["ours"]
    assert row["ratio"] == pytest.approx(ratio, rel=0.02)
    assert row["command"].startswith(f"python {script} {' '.join(TINY[script])}")
    assert f"{row['ratio']} times as fast" in output


def test_fitting_compares_the_same_images_and_leaves_out_what_is_missing(outputs):
    output, table = outputs["bench_fitting.py"]
    assert "mnist is left out: Cannot load mnist" in output
    assert "digits 8x8" in table["setting"][0]
    assert "2 Adam steps" in table["setting"][0]
    assert "Mean PSNR of the same 1 images" in table["remark"][0]


def test_zoo_reading_names_its_size(outputs):
    _, table = outputs["bench_zoo_reading.py"]
    assert table["question"][0] == "read 20 INRs"
    assert table["unit"][0] == "s"


@pytest.mark.parametrize(
    ("unit", "plain", "ours", "ratio"), [("fits/s", 2.0, 30.0, 15.0), ("s", 3.0, 0.5, 6.0)]
)
def test_ratio_of_rates_and_of_times(tmp_path, capsys, unit, plain, ours, ratio):
    path = tmp_path / "results.csv"
    for _ in range(2):
        record("speed", setting="small", unit=unit, plain=plain, ours=ours, results=path)
    table = pd.read_csv(path)
    assert table["ratio"].tolist() == [ratio, ratio]
    assert capsys.readouterr().out.count(f"{ratio} times as fast") == 2


def test_seconds_is_the_median_without_the_first_call(monkeypatch):
    calls, clock = [], iter([0, 1, 10, 15, 20, 22])
    monkeypatch.setattr("support.benchmarks.time.perf_counter", lambda: next(clock))
    assert seconds(lambda: calls.append(1), repeats=3) == 2
    assert len(calls) == 4
