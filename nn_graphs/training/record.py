"""Which run a folder belongs to, so that another one's is neither gone on with nor read."""

import dataclasses
import json
from pathlib import Path

from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.records import as_json_data, differences, write_record
from nn_graphs.tasks.task import Task
from nn_graphs.training.settings import TrainingSettings

RECORD = "run.json"
NO_MATTER = ("chunk_size", "is_compiled", "accelerator", "devices", "strategy", "has_wandb")
"""Settings that change where and how a run is computed, and its results by rounding alone."""


def check_record(folder: Path, model: nn.Module, task: Task, settings: TrainingSettings) -> None:
    """Writes down which run this is, or compares with what is written there.

    Raises:
        NNGraphsError: the folder belongs to another run, or its record cannot be read.
    """
    path, now = folder / RECORD, _describe(model, task, settings)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_record(path, now)
        return
    try:
        before = dict(json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise _refused(folder, f"{path} cannot be read ({error}).") from error
    changes = differences(before, as_json_data(now))
    if changes:
        raise _refused(folder, f"it is another one's ({changes}).")


def _describe(model: nn.Module, task: Task, settings: TrainingSettings) -> dict[str, object]:
    described = {
        "task": task.name,
        "networks": len(task.zoo.table),
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
    }
    values = dataclasses.asdict(settings)
    return described | {name: values[name] for name in values if name not in NO_MATTER}


def _refused(folder: Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"use {folder} for this run",
        found=found,
        do="Give a folder of its own, or empty this one with nn_graphs.training.forget_run.",
    )
