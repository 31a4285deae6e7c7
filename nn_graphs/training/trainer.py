"""Lightning's trainer, as runs use it: checkpoints, loggers, one progress bar."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import progress_bar
from nn_graphs.tasks.task import Task
from nn_graphs.training.module import TaskModule
from nn_graphs.training.settings import TrainingSettings

ADVICE = (  # of Lightning's, that does not hold here
    ".*does not have many workers",  # a batch is one index into memory
    "Checkpoint directory .* exists and is not empty",  # an interrupted run goes on
    ".*(LeafSpec|all_gather is deprecated)",  # Lightning asks torch in a way that it gives up
    "Using `DistributedSampler`",  # what it repeats is left out, see `in_split_order`
)


def make_trainer(task: Task, settings: TrainingSettings, folder: Path) -> L.Trainer:
    checkpoints = folder / "checkpoints"
    best = ModelCheckpoint(
        checkpoints, "best", monitor=f"val/{task.metric}", mode="max", enable_version_counter=False
    )
    last = ModelCheckpoint(checkpoints, "last", enable_version_counter=False)  # knows of the best
    callbacks: list[L.Callback] = [best, last, StepBar()]
    if settings.patience is not None:
        callbacks.append(
            EarlyStopping(f"val/{task.metric}", patience=settings.patience, mode="max")
        )
    hardware = {
        name: getattr(settings, name)
        for name in ("accelerator", "devices", "strategy", "precision")
    }
    try:
        return L.Trainer(
            **hardware,
            max_epochs=settings.num_epochs,
            callbacks=callbacks,
            logger=_make_loggers(settings, folder),
            default_root_dir=folder,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (MisconfigurationException, ValueError) as error:
        raise NNGraphsError(
            "train with " + ", ".join(f"{name}={value}" for name, value in hardware.items()),
            found=f"Lightning says: {error}",
            do="Change these settings.",
        ) from error


def _make_loggers(settings: TrainingSettings, folder: Path) -> list[Logger]:
    loggers: list[Logger] = [TensorBoardLogger(folder, name="", version="tensorboard")]
    if settings.has_wandb:
        from lightning.pytorch.loggers import WandbLogger

        loggers.append(WandbLogger(project="nn_graphs", name=folder.name, save_dir=folder))
    return loggers


class StepBar(L.Callback):
    """One progress bar over all steps of a training, with the last validation beside it."""

    def on_train_start(self, trainer: L.Trainer, module: TaskModule) -> None:
        if trainer.is_global_zero:
            self._bar = progress_bar(
                trainer.max_epochs * trainer.num_training_batches,
                unit="steps",
                description="training",
                done=trainer.global_step,
            )

    def on_train_batch_end(self, trainer: L.Trainer, module: TaskModule, *_) -> None:
        if trainer.is_global_zero:
            figures = {"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}"}
            for name, value in module.split_metrics.get("val", {}).items():
                figures[f"val {name}"] = f"{value:.4g}"
            self._bar.advance(1, figures)

    def on_train_end(self, trainer: L.Trainer, module: TaskModule) -> None:
        if trainer.is_global_zero:
            self._bar.close()

    def on_exception(self, trainer: L.Trainer, module: TaskModule, error: BaseException) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()


@contextmanager
def without_advice() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in ADVICE:
            warnings.filterwarnings("ignore", message)
        yield


def device_name(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    if device.type == "cpu":
        return f"cpu ({torch.get_num_threads()} threads)"
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(device)
