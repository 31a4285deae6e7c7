"""A run: trains in a folder of its own, chooses the best epoch on val, and scores it on test.

`run.json` says which run a folder belongs to, by fingerprints of all that its outcome depends on,
so that another one's is neither gone on with nor read.
"""

import dataclasses
import json
import logging
import shutil
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import lightning as L
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from nn_graphs.encoders.encoder_files import save_encoder
from nn_graphs.errors import NNGraphsError
from nn_graphs.fingerprint import describe_module, fingerprint
from nn_graphs.locks import only_writer
from nn_graphs.memory import keep_freed_memory
from nn_graphs.records import as_json_data, differences, write_record
from nn_graphs.tasks.task import Task
from nn_graphs.training.checkpoint import read_checkpoint
from nn_graphs.training.loading import make_loader
from nn_graphs.training.module import TaskModule
from nn_graphs.training.network_costs import network_costs
from nn_graphs.training.outcome import OUTCOME, TEST_OUTPUTS, Outcome, read_outcome, write_outcome
from nn_graphs.training.settings import TrainingSettings
from nn_graphs.training.trainer import device_name, make_trainer, without_advice
from nn_graphs.whole_files import disk_errors

logger = logging.getLogger(__name__)
RECORD = "run.json"
ENCODER = "encoder.safetensors"
LOGS = ("checkpoints", "tensorboard", "wandb", "metrics.csv")
FILES = (RECORD, *LOGS, ENCODER, TEST_OUTPUTS, OUTCOME)
NO_MATTER = ("chunk_size", "is_compiled", "accelerator", "devices", "strategy", "has_wandb")
"""Settings that change where and how a run is computed; its results by rounding, and by what
dropout draws: it draws for every chunk."""


def train_and_test(
    model: nn.Module,
    task: Task,
    settings: TrainingSettings,
    folder: str | Path,
    *,
    augmentation: nn.Module | None = None,
) -> Outcome:
    """Trains a model, chooses its best epoch on val, and scores that one on test.

    A folder belongs to one run: an unfinished run in it goes on, of a finished one the outcome is
    read, and another one is refused; `forget_run` empties it. A second process that begins the same
    run waits for the first, and reads its outcome. Beside the outcome, `folder` gets
    `run.json` (which run it belongs to), `metrics.csv` (one row per epoch), TensorBoard logs,
    checkpoints, `test_outputs.npz` (outputs and labels of the test split), and the encoder of the
    tested model, `encoder.safetensors`, if it has one that makes vectors of graphs (`as_encoder`),
    see `nn_graphs.load_encoder`. Training batches, and no others, go through the `augmentation`,
    see `nn_graphs.graphs.augmentations`.

    A run that failed before its first checkpoint has left nothing to go on with, so that its folder
    is free for another one.

    Raises:
        NNGraphsError: the folder belongs to another run (other settings, networks, labels,
            augmentation, model or initial values), a checkpoint in it cannot be read, or the disk
            is full; the loss of a step, or an output for a network of val or test, is NaN or
            infinite.
        KeyboardInterrupt: the user interrupted the training.
    """
    folder = Path(folder)
    with _only_run(folder), disk_errors(folder / RECORD):
        return _train_and_test(model, task, settings, folder, augmentation)


def forget_run(folder: str | Path) -> None:
    """Deletes what `train_and_test` wrote into a folder, and nothing else."""
    for name in FILES:
        path = Path(folder) / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _only_run(folder: Path) -> AbstractContextManager[None]:
    """Of processes that begin the same run, one works; those of one run share its lock."""
    rank = rank_zero_only.rank  # type: ignore[attr-defined]  # which Lightning sets on a function
    return nullcontext() if rank else only_writer(folder / RECORD)


def _train_and_test(
    model: nn.Module,
    task: Task,
    settings: TrainingSettings,
    folder: Path,
    augmentation: nn.Module | None,
) -> Outcome:
    _check_folder(folder, _describe(model, task, settings, augmentation))
    finished = read_outcome(folder)
    if finished is not None:
        return finished
    L.seed_everything(settings.seed, verbose=False)
    keep_freed_memory()
    module = TaskModule(model, task, settings, folder, augmentation)
    with without_advice():
        trainer = make_trainer(task, settings, folder)
        _fit(trainer, module)
        best = read_checkpoint(Path(trainer.checkpoint_callback.best_model_path))
        module.load_state_dict(best["state_dict"])
        trainer.test(module, make_loader(task.open_test(), settings), verbose=False)
    costs = network_costs(module.model, task)
    outcome = Outcome(
        val=best["val_metrics"],
        test=module.split_metrics["test"],
        best_epoch=best["epoch"],
        num_params=_num_params(model),
        minutes=module.minutes,
        device=device_name(trainer),
        costs=dataclasses.asdict(costs),
    )
    if trainer.is_global_zero:
        _write_encoder(module.judged, folder)
        write_outcome(folder, outcome, **module.test_arrays)
    return outcome


def has_begun(folder: str | Path) -> bool:
    """Whether the run of a folder has left what another must not go on with, or replace."""
    folder = Path(folder)
    return (folder / OUTCOME).exists() or any((folder / "checkpoints").glob("*"))


def _fit(trainer: L.Trainer, module: TaskModule) -> None:
    """Trains from the last checkpoint on, where there is one."""
    task, settings = module.task, module.settings
    last = module.folder / "checkpoints" / "last.ckpt"
    if last.exists():
        read_checkpoint(last)  # Lightning would tell damage in words of its own
    try:
        trainer.fit(
            module,
            make_loader(task.dataset("train"), settings, is_shuffled=True),
            make_loader(task.dataset("val"), settings),
            ckpt_path=last if last.exists() else None,
            weights_only=True,
        )
    except SystemExit:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from None


def _write_encoder(model: nn.Module, folder: Path) -> None:
    """Writes what makes vectors of graphs, where a model has it and its class has a name."""
    encoder = model.as_encoder() if hasattr(model, "as_encoder") else None
    if encoder is None:
        return
    try:
        save_encoder(encoder, folder / ENCODER)
    except NNGraphsError as error:
        logger.info("The encoder is in the checkpoints alone: %s", error)


def _describe(
    model: nn.Module, task: Task, settings: TrainingSettings, augmentation: nn.Module | None
) -> dict[str, object]:
    """All that an outcome depends on: numbers and settings as they are, contents as fingerprints.

    Buffers of the model are left out: they are computed from the networks, so that their last bits
    may depend on the number of threads.
    """
    initial_values = (part for named in model.named_parameters() for part in named)
    described = {
        "task": task.name,
        "networks": len(task.zoo),
        "parameters": _num_params(model),
        "model": fingerprint([describe_module(model)]),
        "initial values": fingerprint(initial_values),
        "augmentation": fingerprint([describe_module(augmentation)]) if augmentation else None,
        **task.fingerprints(),
    }
    chosen = dataclasses.asdict(settings)
    return described | {name: chosen[name] for name in chosen if name not in NO_MATTER}


def _num_params(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _check_folder(folder: Path, run: dict[str, object]) -> None:
    """Writes down which run a folder belongs to, or compares with what is written there.

    Raises:
        NNGraphsError: the folder belongs to another run, or its record cannot be read.
    """
    path = folder / RECORD
    if not path.exists():
        _write_record(folder, run)
        return
    try:
        before = dict(json.loads(path.read_text()))
        found = differences(before, as_json_data(run))
        found = found and f"it is another one's ({found})."
    except (ValueError, TypeError) as error:
        found = f"{path} cannot be read ({error})."
    if found and has_begun(folder):
        raise NNGraphsError(
            f"use {folder} for this run",
            found=found,
            do="Give a folder of its own, or empty this one with nn_graphs.training.forget_run.",
        )
    if found:
        forget_run(folder)
        _write_record(folder, run)


def _write_record(folder: Path, run: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / RECORD, run)
