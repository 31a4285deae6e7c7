"""What the experiment on relational graphs needs beside the library: data, rows, its report."""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from support.benchmarks import device_name
from support.launch import Run
from support.paths import EXPERIMENTS

from nn_graphs.datasets import load_images
from nn_graphs.datasets.folders import read_image_folders
from nn_graphs.datasets.streamed import ImageStream
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.streams import StreamedData
from nn_graphs.plotting import save_figure
from nn_graphs.relational_results.cells import COARSE_GRIDS, CellGrid
from nn_graphs.relational_results.figures import plot_heat_map, plot_plane
from nn_graphs.relational_results.runs import read_runs
from nn_graphs.relational_results.sweet_spot import graph_sweet_spot
from nn_graphs.relational_results.table import (
    BASELINE,
    mean_errors,
    noise_ceiling,
    without_baseline,
)
from nn_graphs.results import ResultRow, commit, now, versions
from nn_graphs.structure import MEASURES, measure_graphs

logger = logging.getLogger(__name__)
NO_OPTIONS = {  # what no row depends on
    "seeds", "device", "chunk_size", "num_workers", "part", "num_parts", "graphs.first", "plane",
}  # fmt: skip


def task_and_options(run: Run) -> dict[str, str]:
    """What tells rows of one experiment from those of others."""
    config = run.config
    options = [one for one in run.options.split() if one.partition("=")[0] not in NO_OPTIONS]
    return {"task": f"{config.network.name}_{config.dataset.name}", "options": " ".join(options)}


def load_data(run: Run) -> LabelledData | StreamedData:
    """The data set of the config, on the device."""
    dataset = run.config.dataset
    if "num_loaders" in dataset:
        images = ImageStream.open(run.data_root, dataset.folder, side=dataset.side)
        return StreamedData(images, torch.device(run.config.device), dataset.num_loaders)
    if "folder" in dataset:
        images = read_image_folders(run.data_root, dataset.folder, side=dataset.side)
    else:
        images = load_images(dataset.name, run.data_root)
    return LabelledData.from_dataset(
        images,
        num_train=dataset.num_train,
        num_test=dataset.num_test,
        device=run.config.device,
    )


def row_origin(run: Run) -> dict[str, str]:
    """Where rows come from."""
    return {
        "device": run.config.device,
        "versions": versions(),
        "commit": commit(EXPERIMENTS),
        "command": run.command,
    }


def report_runs(run: Run) -> None:
    """Spread between graphs against that between seeds, and the heat map with its sweet spot."""
    config = run.config
    task = task_and_options(run)["task"]
    runs = read_runs(Path(config.results), **task_and_options(run))
    errors = mean_errors(runs)
    graphs = without_baseline(errors)
    logger.info("%s: %d runs of %d graphs", task, len(runs), len(errors))
    for row in errors[errors["graph_id"] == BASELINE].itertuples():
        logger.info("complete graph: %.2f %% +- %.2f", row.error, row.std)
    if len(graphs) < 3 or (graphs["num_runs"] < 2).any():
        for row in graphs.itertuples():
            logger.info("graph %d: %.2f %% +- %.2f", row.graph_id, row.error, row.std)
        return
    seeds = without_baseline(runs).groupby("graph_id")["top1_error"].var()
    logger.info(
        "top-1 error: %.2f %% on average; means of graphs deviate by %.2f, the seeds of a graph by "
        "%.2f (so means by %.2f); share of the variance of means due to graphs: %s",
        graphs["error"].mean(),
        graphs["error"].std(),
        np.sqrt(seeds.mean()),
        np.sqrt((seeds / graphs["num_runs"].to_numpy()).mean()),
        noise_ceiling(runs),
    )
    spot = graph_sweet_spot(runs)
    best = spot.candidates.loc[spot.best]
    logger.info(
        "best graph %s: %.2f %% (C %.3f, L %.3f); "
        "sweet spot of %d graphs: C %.2f-%.2f, L %.2f-%.2f",
        spot.best,
        best["error"],
        best["clustering"],
        best["path_length"],
        spot.num_kept,
        *spot.clustering,
        *spot.path_length,
    )
    if config.plane is None:
        grid = _grid_of(errors, config.graphs.get("num_nodes"))
        figure = plot_heat_map(errors, grid, sweet_spot=spot, title=task)
    else:
        figure = plot_plane(_with_measures(run, graphs), *config.plane, title=task)
    save_figure(figure, run.folder / "heat_map.png")
    logger.info("Figure: %s", run.folder / "heat_map.png")


def check_plane(plane: Sequence[str] | None) -> None:
    """Raises where the figure is asked for something else than two measures.

    Raises:
        NNGraphsError: there are not two, or one is unknown.
    """
    names = [plane] if isinstance(plane, str) else list(plane or ())
    for name in names:
        check_known(name, MEASURES, asked=f"draw a plane of {name}")
    if plane is not None and len(names) != 2:
        raise NNGraphsError(
            f"draw the plane {plane}",
            found=f"it names {len(names)} measures.",
            do="Give two, as plane=[modularity,spectral_gap], or null.",
        )


def _grid_of(errors: pd.DataFrame, num_nodes: int | None) -> CellGrid:
    """The published grid for graphs of this size, where all lie in it; else one that they do."""
    longest, published = errors["path_length"].max(), COARSE_GRIDS.get(num_nodes)
    if published is not None and longest <= published.path_range[1]:
        return published
    return CellGrid(12, (1.0, max(1.5, np.ceil(10 * longest + 0.1) / 10)))


def _with_measures(run: Run, graphs: pd.DataFrame) -> pd.DataFrame:
    """Errors of graphs beside the two measures that the figure is asked to have."""
    known = {graph.graph_id: graph for graph in run.build(run.config.graphs).read(run.data_root)}
    rows = []
    for number in graphs["graph_id"]:
        adjacency = known[number].make().adjacency
        measured = measure_graphs(adjacency | adjacency.T, run.config.plane)
        rows.append({name: float(value) for name, value in measured.items()})
    return graphs.assign(**pd.DataFrame(rows, index=graphs.index))


def script_row(
    task: str, model: str, zoo: str, metric: str, value: float, minutes: float, *, options: str = ""
) -> ResultRow:
    """A row of a script that is run by hand, with its command; nothing is trained by gradients."""
    return ResultRow(
        task=task,
        model=model,
        zoo=zoo,
        options=options,
        seed=0,
        metric=metric,
        value=round(value, 4),
        params=0,
        minutes=round(minutes, 2),
        device=device_name("cpu"),
        versions=versions(),
        commit=commit(EXPERIMENTS),
        command=shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
        date=now(),
    )
