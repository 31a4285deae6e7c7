"""What a run shows at its end: figures in its folder, and a table of all results so far."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from support.launch import Run

from nn_graphs.datasets import ImageDataset, load_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.plotting import (
    plot_confusion,
    plot_learning_curves,
    plot_renderings,
    plot_scores,
    save_figure,
)
from nn_graphs.results import latest_results, read_results, summarize
from nn_graphs.tasks.classification import ColumnClassification
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)
NUM_SHOWN = 10


@rank_zero_only
def report_inr_classification(run: Run, task: INRClassification, outcome: Outcome) -> None:
    """Learning curves, confusion matrix and renderings; then the scores of all models so far."""
    images = _images_of(task.zoo, run.data_root)
    numbers = map(str, range(task.out_dim))
    class_names = images.class_names if images else tuple(numbers)
    _report_classes(run, task, outcome, class_names=class_names)
    if images:
        save_figure(_renderings(task.zoo, images), run.folder / "renderings.png")


@rank_zero_only
def report_classification(run: Run, task: ColumnClassification, outcome: Outcome) -> None:
    """Learning curves and confusion matrix; then the scores of all models so far."""
    _report_classes(run, task, outcome, class_names=task.class_names)


def _report_classes(
    run: Run, task: Task, outcome: Outcome, *, class_names: tuple[str, ...]
) -> None:
    name = f"{run.config.encoder.name} on {run.config.zoo.name}"
    metrics = pd.read_csv(run.folder / "metrics.csv")
    curves = plot_learning_curves(metrics, metric=task.metric, title=name)
    save_figure(curves, run.folder / "learning_curves.png")
    arrays = np.load(run.folder / "test_outputs.npz")
    confusion = plot_confusion(
        arrays["outputs"].argmax(axis=1),
        arrays["labels"],
        class_names=class_names,
        title=f"{name}: {outcome.test['accuracy']:.1f}% on test",
    )
    save_figure(confusion, run.folder / "confusion.png")
    logger.info(
        "%s: accuracy %.1f%% on val, %.1f%% on test (%d parameters, %.1f minutes)",
        name,
        outcome.val["accuracy"],
        outcome.test["accuracy"],
        outcome.num_params,
        outcome.minutes,
    )
    report_scores(run, "test/accuracy", unit=" (%)", digits=2)
    logger.info("Figures: %s", run.folder)


def report_scores(run: Run, metric: str, *, unit: str, digits: int) -> None:
    """A table and a bar chart of one metric over all recorded models on this run's zoo."""
    results = read_results(run.config.results)
    results = results[(results["zoo"] == run.config.zoo.name) & (results["metric"] == metric)]
    columns = ["model", "mean", "std", "count", "params", "minutes", "options"]
    table = summarize(results)[columns].to_string(
        index=False, float_format=f"%.{digits}f", na_rep="-"
    )
    logger.info("%s on %s so far:\n%s", metric, run.config.zoo.name, table)
    scores = {
        "\n".join([model, *options.split()]): rows["value"].tolist()
        for (model, options), rows in latest_results(results).groupby(["model", "options"])
    }
    figure = plot_scores(scores, ylabel=f"{metric}{unit}", title=run.config.zoo.name)
    save_figure(figure, run.folder.parent / f"scores_{run.config.zoo.name}.png")


def _images_of(zoo: Zoo, data_root: Path) -> ImageDataset | None:
    """What the INRs were fitted to; None where it is not there, which a zoo file needs no more."""
    try:
        return load_images(zoo.metadata["recipe"]["dataset"], data_root)
    except NNGraphsError as error:
        logger.warning("No figure of the images: %s", error)
        return None


def _renderings(zoo: Zoo, images: ImageDataset) -> Figure:
    """The first test images of a zoo, each above what its INR draws."""
    preset = inr_preset(zoo.metadata["recipe"]["preset"])
    numbers = zoo.indices("test")[:NUM_SHOWN]
    sources = zoo.table["source_id"].to_numpy()[numbers]
    height, width = images.images.shape[1:3]
    with torch.no_grad():
        outputs = stacked_forward(zoo.spec, zoo.take(numbers), preset.coordinates(height, width))
    drawn = rearrange(preset.to_pixels(outputs), "n (h w) c -> n h w c", h=height).numpy()
    pixels = images.pixels(sources)
    psnr = -10 * np.log10(np.square(drawn - pixels).mean(axis=(1, 2, 3)))
    names = [images.class_names[label] for label in images.labels[sources]]
    titles = [f"{name}\n{value:.0f} dB" for name, value in zip(names, psnr, strict=True)]
    return plot_renderings(pixels, drawn, titles=titles, caption="test images")
