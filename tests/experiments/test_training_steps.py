"""The pieces of the benchmarks of training steps: what is timed, and what is made of it."""

import argparse

import numpy as np
import pandas as pd
import pytest
import torch
from benchmarks import bench_scaling
from benchmarks.bench_encoder_step import measure_apart
from benchmarks.bench_epoch import Stopwatch, computation_timed
from benchmarks.bench_scaling import exponent, fitted_exponents, plot_curves
from benchmarks.bench_step_floors import count_work
from benchmarks.training_steps import (
    VARIANTS,
    StepCost,
    StepSetting,
    make_published_model,
    make_task,
    measure_step,
    prepare_step,
)

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUT = (2, 4, 4, 1)


@pytest.mark.parametrize("variant", VARIANTS)
def test_steps_learn_the_label_of_a_single_network(variant):
    step = prepare_step(StepSetting(variant, LAYOUT, batch_size=1))
    losses = [step() for _ in range(20)]
    assert losses[-1] < losses[0] - 0.3


@pytest.mark.parametrize("variant", VARIANTS)
def test_mixed_precision_changes_the_loss_a_little(variant):
    losses = [
        prepare_step(StepSetting(variant, LAYOUT, batch_size=3, precision=precision))()
        for precision in ("32-true", "bf16-mixed")
    ]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_cost_of_a_step():
    cost = measure_step(StepSetting("gnn", LAYOUT, batch_size=2), num_steps=2)
    assert 0 < cost.seconds < 60
    assert cost.gigabytes is None or 0 <= cost.gigabytes < 1
    assert "threads" in cost.device


def test_measuring_in_another_process():
    setting = StepSetting("gnn_published", LAYOUT, batch_size=2)
    cost = measure_apart(setting, num_steps=1)
    assert 0 < cost.seconds < 60


def test_failure_in_another_process_is_shown(monkeypatch):
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(SystemExit, match=r"--variant=gnn .*failed"):
        measure_apart(StepSetting("gnn"), num_steps=1)


def test_task_has_ten_classes_however_small():
    task = make_task(LAYOUT, num_train=2, num_val=3)
    assert task.out_dim == 10
    assert (len(task.dataset("train")), len(task.dataset("val"))) == (2, 3)


def test_computation_is_timed_part_by_part(monkeypatch):
    """With a clock that says how often it was read, every timed call takes one unit."""
    task = make_task(LAYOUT, num_train=4)
    model = make_published_model(task, "flat_mlp")
    optimizer = torch.optim.AdamW(model.parameters())
    graphs, labels = task.dataset("train").batch([0, 1])
    ticks = iter(range(1000))
    monkeypatch.setattr("benchmarks.bench_epoch.time.perf_counter", lambda: next(ticks))
    watch = Stopwatch(is_cuda=False)

    def closure() -> torch.Tensor:
        loss = task.loss(model(graphs), labels)
        loss.backward()
        return loss

    with computation_timed(watch, model, task):
        loss = optimizer.step(closure)
        optimizer.step(closure)
    assert watch.seconds == {"forward": 4, "backward": 2, "optimizer step": 2}
    assert closure() < loss  # the steps were real
    assert watch.seconds["backward"] == 2  # and nothing is timed any more


def test_exponent_of_a_power_law():
    places = np.array([8, 16, 64])
    assert exponent(places, 3 * places**1.5) == pytest.approx(1.5)
    assert np.isnan(exponent(places[:1], places[:1]))


@pytest.fixture
def options() -> argparse.Namespace:
    return argparse.Namespace(
        curves=["transformer_edges", "transformer_all_pairs"],
        batch_sizes=[8, 16],
        widths=[32, 64, 128],
        fixed_batch_size=8,
        fixed_width=32,
        num_steps=1,
        max_gigabytes=8.0,
        device="cpu",
    )


@pytest.fixture
def table(options, monkeypatch) -> pd.DataFrame:
    """Curves of invented costs: edges square in the width, all pairs ten times that."""

    def measure(setting: StepSetting, _) -> StepCost:
        factor = 10 if setting.variant == "transformer_all_pairs" else 1
        size = factor * setting.batch_size * setting.layer_layout[1] ** 2
        return StepCost(size / 1e6, size / 1e5, "a device")

    monkeypatch.setattr(bench_scaling, "_measure", measure)
    return bench_scaling.measure_curves(options)


def test_points_that_take_too_much_memory_are_left_out(table, capsys):
    widths = table[table["axis"] == "width"].groupby("curve")["width"].apply(list)
    assert widths["transformer_edges"] == [32, 64, 128]
    assert widths["transformer_all_pairs"] == [32, 64]  # 3.3 GB, then 13


def test_exponents_by_axis_and_curve(table):
    exponents = fitted_exponents(table)
    assert exponents["batch_size", "transformer_edges"] == pytest.approx(1)
    assert exponents["width", "transformer_all_pairs"] == pytest.approx(2)


def test_figure_has_the_curves_of_both_axes(table):
    batch_axes, width_axes = plot_curves(table).axes
    assert [len(line.get_xdata()) for line in batch_axes.get_lines()] == [2, 2]
    assert sorted(len(line.get_xdata()) for line in width_axes.get_lines()) == [2, 3]
    assert width_axes.get_xscale() == width_axes.get_yscale() == "log"


def test_less_work_than_the_published_code():
    names = ("gnn_published", "gnn")
    theirs, own = (count_work(StepSetting(name, LAYOUT, batch_size=2)) for name in names)
    assert all(0 < less < more for less, more in zip(own, theirs, strict=True))
