"""The benchmark scripts run and write rows that say what was measured."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from support.benchmarks import SpeedRow, record, seconds
from support.paths import EXPERIMENTS

COLUMNS = [field.name for field in dataclasses.fields(SpeedRow)]
SLOW = ("bench_busy_machine.py",)  # its neighbours take the cores of other tests
MARKED = {script: pytest.param(script, marks=pytest.mark.slow) for script in SLOW}
TINY = {
    script: options.split()
    for script, options in {
        "bench_busy_machine.py": "--only gnn --batch-size 2 --num-steps 1 --num-rounds 1 "
        "--num-neighbours 1 --in-one-process",
        "bench_cnn_steps.py": "--only park curves --batch-size 2 --channels 2 4 --kernel-sizes 1 3 "
        "--architectures 1 2 --num-steps 1 --num-rounds 1 --in-one-process",
        "bench_cnn_training.py": "--num-plain 1 --num-ours 11 --num-epochs 1",
        "bench_dag_networks.py": "--tiny --repeats 1 --num-networks 3 --num-plain 1 --num-nodes 12 "
        "--num-epochs 1",
        "bench_edge_reductions.py": "--batch-size 2 --dim 4 --repeats 1",
        "bench_encoder_step.py": "--only gnn --layer-layout 2-4-4-1 --batch-size 2 --num-steps 1 "
        "--num-rounds 1 --in-one-process",
        "bench_epoch.py": "--encoder flat_mlp --num-networks 33 --batch-size 8",
        "bench_extraction.py": "--tiny",
        "bench_fitting.py": "--num-plain 1 --num-ours 3 --num-steps 2",
        "bench_masked_layers.py": "--tiny --repeats 1",
        "bench_probe_gen.py": "--batch-size 2 --num-probes 3 --num-steps 1",
        "bench_meta_training.py": "--num-networks 2 --num-steps 2 --repeats 1",
        "bench_pruning.py": "--widths 64 40 40 10 --num-steps 5 --batch-size 4 --repeats 1",
        "bench_relational_graphs.py": "--num-graphs 3 --plain-every 2",
        "bench_tracing.py": "--tiny --only bert_base",
        "bench_relational_training.py": "--num-graphs 2 --num-seeds 2 --num-plain 2 --num-epochs 1",
        "bench_scaling.py": "--curves transformer_edges transformer_all_pairs --batch-sizes 1 2 "
        "--widths 4 8 --fixed-width 4 --fixed-batch-size 1 --num-steps 1 --in-one-process",
        "bench_scalegmn.py": "--layer-layout 2-4-4-1 --batch-size 2 --dim 4 --num-steps 1",
        "bench_step_floors.py": "--layer-layout 2-4-4-1 --batch-size 2",
        "bench_style_editing.py": "--layer-layout 2-4-4-1 --side 4 --batch-size 3 --num-copies 2 "
        "--num-steps 1 --num-rounds 1 --in-one-process",
        "bench_trajectories.py": "--num-plain 1 --num-ours 6 --num-epochs 2",
        "bench_structure_encoder.py": "--layouts 2-4-4-1 cnn --num-graphs 4 "
        "--num-embedded 6 --num-plain 3 --batch-size 2 --num-epochs 1 --in-one-process",
        "bench_vgae_sizes.py": "--sizes 4-8-1 4-16-1 --batch-size 2 --num-epochs 1 "
        "--plain-up-to 100 --in-one-process",
        "bench_zoo_reading.py": "--num-networks 20",
    }.items()
}
DRAWING = ("bench_cnn_steps.py", "bench_scaling.py", "bench_vgae_sizes.py")


def test_every_script_is_run_here():
    scripts = (EXPERIMENTS / "benchmarks").glob("bench_*.py")
    assert {script.name for script in scripts} == set(TINY)


RUN_ALL = """
import contextlib, json, pathlib, runpy, sys
for script, (options, output) in json.load(sys.stdin).items():
    sys.argv = [script, *options]
    with open(output, "w") as file, contextlib.redirect_stdout(file):
        runpy.run_path(str(pathlib.Path(script).resolve()), run_name="__main__")
"""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory) -> dict[str, tuple[str, pd.DataFrame]]:
    """What each script prints and writes; all in one process, which imports everything once."""
    folder = tmp_path_factory.mktemp("benchmarks")
    environment = {
        "OMP_NUM_THREADS": "1",
        "TORCH_COMPILE_DISABLE": "1",
        "NN_GRAPHS_DATA": str(folder / "data"),
        "NN_GRAPHS_PROGRESS": "0",
    }
    runs = {
        script: [
            [*options, "--results", str(folder / f"{script}.csv")]
            + ["--folder", str(folder)] * (script in DRAWING),
            str(folder / f"{script}.txt"),
        ]
        for script, options in TINY.items()
    }
    found = subprocess.run(
        [sys.executable, "-c", RUN_ALL],
        input=json.dumps(runs),
        cwd=EXPERIMENTS / "benchmarks",
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert found.returncode == 0, found.stderr
    return {
        script: (Path(output).read_text(), pd.read_csv(folder / f"{script}.csv"))
        for script, (_, output) in runs.items()
    }


@pytest.mark.parametrize("script", [MARKED.get(script, script) for script in TINY])
def test_script_writes_rows(outputs, script):
    output, table = outputs[script]
    assert list(table.columns) == COLUMNS
    assert len(table) >= 1
    for row in table.to_dict("records"):
        assert row["plain"] > 0
        assert row["ours"] > 0
        is_rate = row["unit"].endswith("/s")
        ratio = row["ours"] / row["plain"] if is_rate else row["plain"] / row["ours"]
        assert row["ratio"] == pytest.approx(ratio, rel=0.02)
        assert row["command"].startswith(f"python {script} {' '.join(TINY[script])}")
        assert (
            f"{row['ratio']} times {'less' if row['unit'] in ('GB', 'GFLOP') else 'as fast'}"
            in output
        )


def test_fitting_compares_the_same_images_and_leaves_out_what_is_missing(outputs):
    output, table = outputs["bench_fitting.py"]
    assert "mnist is left out: Cannot load mnist" in output
    assert "digits 8x8" in table["setting"][0]
    assert "2 Adam steps" in table["setting"][0]
    assert "Mean PSNR of the same 1 images" in table["remark"][0]


def test_style_editing_is_measured_on_one_error(outputs):
    _, table = outputs["bench_style_editing.py"]
    assert "step of style editing" in set(table["question"])
    for remark in table["remark"]:
        plain, ours = (float(found) for found in re.findall(r"(\d+\.\d+)", remark))
        assert plain == pytest.approx(ours, rel=1e-4)


def test_meta_training_gives_the_meta_gradients_of_the_plain_way(outputs):
    _, table = outputs["bench_meta_training.py"]
    (error,) = re.findall(r"differ by (\S+)\.$", table["remark"][0])
    assert float(error) < 1e-4


def test_zoo_reading_names_its_size(outputs):
    _, table = outputs["bench_zoo_reading.py"]
    assert table["question"][0] == "read 20 INRs"
    assert table["unit"][0] == "s"


def test_relational_training_gives_what_the_plain_way_gives(outputs):
    _, table = outputs["bench_relational_training.py"]
    plain, ours = re.search(r"plain ([\d.]+), ours ([\d.]+) %", table["remark"][0]).groups()
    assert float(plain) == pytest.approx(float(ours), abs=1.0)
    assert "3 graphs of 16 nodes, 2 seeds" in table["setting"][0]


def test_epoch_says_what_is_outside_of_the_computation(outputs):
    _, table = outputs["bench_epoch.py"]
    remark = table["remark"][0]
    assert "% of the epoch is outside of it (forward" in remark
    assert table["plain"][0] < table["ours"][0]  # the computation is a part of the epoch


def test_encoder_step_is_measured_in_time_and_memory(outputs):
    output, table = outputs["bench_encoder_step.py"]
    questions = table.set_index("question")["unit"].to_dict()
    assert questions.pop("training step of NG-GNN") == "s"
    assert questions in ({}, {"memory of a training step of NG-GNN": "GB"})
    assert output.count("StepCost") == 2
    assert "1 threads" in table["device"][0]


def test_cnn_steps_are_compared_and_have_exponents(outputs):
    _, table = outputs["bench_cnn_steps.py"]
    questions = table.set_index("question")
    assert questions["unit"]["training step of NG-GNN on a mix of CNNs"] == "s"
    curves = table[table["question"].str.startswith("NG-GNN step against")]
    assert len(curves) == 3
    pattern = r"Exponents: NG-GNN as published \S+, NG-GNN, ours \S+\."
    assert curves["remark"].str.fullmatch(pattern).all()


def test_scaling_gives_exponents_of_both_axes(outputs):
    _, table = outputs["bench_scaling.py"]
    assert table["question"].tolist() == [
        "NG-T on edges instead of all pairs, by INRs per step",
        "NG-T on edges instead of all pairs, by hidden width of the INRs",
    ]
    assert table["setting"].str.startswith(("2-4-4-1, batch 2", "2-8-8-1, batch 1")).all()
    assert table["remark"].str.fullmatch(r"Exponents: NG-T, edges .*, NG-T, all pairs .*\.").all()


def test_structure_encoder_equals_its_plain_twin(outputs):
    _, table = outputs["bench_structure_encoder.py"]
    epochs = table[table["question"] == "a training epoch of the VGAE"]
    assert epochs["setting"].tolist() == ["4 MLPs 2-4-4-1, batch 2", "4 CNNs, batch 2"]
    differences = epochs["remark"].str.extract(r"differ by (\S+) of")[0].astype(float)
    assert (differences < 1e-4).all()
    encodings = table[table["question"].str.startswith("Laplacian")]
    cosines = encodings["remark"].str.extract(r"median (\S+)\.$")[0].astype(float)
    assert (cosines > 0.999).all()
    embedded = table[table["question"] == "embedding a zoo"]
    differences = embedded["remark"].str.extract(r"differ by (\S+) at most")[0].astype(float)
    assert (differences < 1e-4).all()


def test_sizes_of_a_vgae_give_exponents(outputs):
    _, table = outputs["bench_vgae_sizes.py"]
    assert table["question"].iloc[0] == "a VGAE step against edges of a network"
    assert table["setting"].iloc[0] == "4-16-1, batch 2"
    pattern = r"Exponents in edges, ours up to 4-16-1: ours seconds \S+, ours gigabytes \S+, .*\."
    assert table["remark"].str.fullmatch(pattern).all()


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
