"""Curves are those of the runs, under the norm that was asked for or the name of the encoder."""

import pandas as pd
import pytest
from omegaconf import OmegaConf

from experiments.inr_classification.val_curves import collect, plot

GIVEN = "encoder.model.encoder.norm"


def write_run(folder, *, norm, seed=0, metric="val/accuracy", values=(10.0, 20.0)):
    folder.mkdir(parents=True)
    model = {"encoder": {"norm": norm, "num_probes": seed}} if norm else {"num_probes": 3}
    config = {
        "encoder": {"name": f"gnn_{norm}", "model": model},
        "zoo": {"name": "digits_inrs"},
        "seed": seed,
    }
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    steps = [10 * (number + 1) for number in range(len(values))]
    curve = {"epoch": steps, "step": steps, metric: values, "cpu_minutes": [0.5, 1.0][: len(steps)]}
    pd.DataFrame(curve).to_csv(folder / "metrics.csv", index=False)


def test_runs_with_a_norm_are_collected(tmp_path, raises_saying):
    with raises_saying(asked=str(tmp_path), found="a norm to tell", do="norm="):
        collect([tmp_path], by="norm")
    write_run(tmp_path / f"{GIVEN}=layer,seed=0", norm="layer")
    write_run(
        tmp_path / f"{GIVEN}=layer,seed=1",
        norm="layer",
        seed=1,
        values=(30.0, 40.0),
    )
    write_run(tmp_path / f"{GIVEN}=rms", norm="rms", metric="val/tau", values=(0.5,))
    write_run(tmp_path / "seed=0", norm="graph")  # the default, not asked for
    write_run(tmp_path / "encoder=probe_only,norm=", norm=None)
    curves = collect([tmp_path], by="norm")
    assert list(curves["label"]) == ["layer"] * 4 + ["rms"]
    assert list(curves["value"]) == [10, 20, 30, 40, 0.5]
    names = set(collect([tmp_path], by="model")["label"])
    assert names == {"gnn_layer", "gnn_layer, 1 probes", "gnn_rms", "gnn_graph", "gnn_None"}


def test_lines_are_means_over_seeds(tmp_path):
    for seed, values in enumerate(((10.0, 20.0), (30.0, 60.0))):
        write_run(
            tmp_path / f"{GIVEN}=layer,seed={seed}",
            norm="layer",
            seed=seed,
            values=values,
        )
    figure = plot(collect([tmp_path], by="norm"))
    lines = figure.axes[0].get_lines()
    assert [list(line.get_ydata()) for line in lines] == [[10, 20], [30, 60], [20, 40]]
    assert figure.legends[0].get_texts()[0].get_text() == "layer"
    assert list(figure.axes[1].get_lines()[-1].get_xdata()) == pytest.approx([0.5, 1.0])


def test_a_norm_has_one_color_in_all_zoos():
    steps = {"step": 10, "cpu_minutes": 0.5, "value": 20.0, "seed": 0, "metric": "val/accuracy"}
    drawn = [("one", "graph"), ("one", "layer"), ("two", "layer")]
    figure = plot(pd.DataFrame([{**steps, "zoo": zoo, "label": label} for zoo, label in drawn]))
    colors = [{line.get_color() for line in axes.get_lines()} for axes in figure.axes[:2]]
    assert len(colors[0]) == 2
    assert colors[1] < colors[0]
    assert figure.axes[1].get_lines()[-1].get_color() == figure.axes[0].get_lines()[-1].get_color()
