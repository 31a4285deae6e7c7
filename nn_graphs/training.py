"""Training of a model on a task with Lightning: the best epoch on val is scored on test, once.

A run lives in a folder: checkpoints, logs, and at the end `outcome.json`. Started again on the same
folder, an interrupted run goes on behind its last epoch and ends with the result that it would have
had; a finished one returns its outcome.
"""

import dataclasses
import json
import logging
import os
import random
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Shaped
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler

from nn_graphs.encoders.features import Graphs
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import NeuralGraphStack
from nn_graphs.networks.fitting import CompiledIfPossible
from nn_graphs.progress import progress_bar
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.batches import GraphDataset, LabelledGraphs

logger = logging.getLogger(__name__)
FILES = ("checkpoints", "tensorboard", "wandb", "metrics.csv", "test_outputs.npz", "outcome.json")
CACHE_VALUES = 1_200_000  # numbers that a processor keeps near while it works on them
ADVICE = (  # of Lightning's, that does not hold here
    ".*does not have many workers",  # a batch is one index into memory
    "Checkpoint directory .* exists and is not empty",  # an interrupted run goes on
    ".*(LeafSpec|all_gather is deprecated)",  # Lightning asks torch in a way that it gives up
    "Using `DistributedSampler`",  # what it repeats is left out, see `in_split_order`
)


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained; the defaults are the published ones (Kofinas et al., 2024, app. E).

    Attributes:
        num_epochs: passes over the training split.
        batch_size: networks per step.
        chunk_size: networks of one architecture per forward and backward pass of a step; their
            gradients add up to those of the batch. None: the whole batch on an accelerator or
            compiled; else, where the model tells its `values_per_graph`, as many as stay in the
            processor's cache.
        is_compiled: compile the training step of whole chunks (torch.compile), which takes a minute
            or so at the start; what is left over, and validation, run eagerly.
        learning_rate, weight_decay: of AdamW with amsgrad.
        warmup_steps: the learning rate grows linearly over these, then stays.
        gradient_clip: largest norm of the gradient; 0: no limit.
        patience: epochs without a better val metric after which training stops; None: never.
        max_minutes: training stops after the epoch in which these have passed; None: never.
        max_cpu_minutes: the same in time of the processor, all threads together, which does not
            depend on what else the machine does.
        accelerator, devices, strategy, precision: as Lightning's Trainer takes them; with several
            devices, `batch_size` is that of each.
        has_wandb: log to Weights & Biases too (pip install wandb).
        has_one_view: an epoch takes one network of each `source_id`, another one each time, where
            a zoo has several (views: several INRs of an image); else it takes all.
        seed: of the order of networks and of dropout; initial values are drawn by the caller.
    """

    num_epochs: int = 200
    batch_size: int = 128
    chunk_size: int | None = None
    is_compiled: bool = False
    learning_rate: float = 1e-3
    weight_decay: float = 5e-4
    warmup_steps: int = 1000
    gradient_clip: float = 10.0
    patience: int | None = None
    max_minutes: float | None = None
    max_cpu_minutes: float | None = None
    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    precision: str = "32-true"
    has_wandb: bool = False
    has_one_view: bool = False
    seed: int = 0

    def __post_init__(self):
        for name in ("num_epochs", "batch_size", "chunk_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                found = f"{name} is {value}."
                raise NNGraphsError("train a model", found=found, do="Give at least 1.")
        if self.precision.startswith("16"):
            raise NNGraphsError(
                f"train with precision={self.precision}",
                found="it needs scaled gradients, which do not add up over chunks.",
                do="Use bf16-mixed, or 32-true.",
            )


@dataclass(frozen=True)
class Outcome:
    """What a finished run found.

    Attributes:
        val: metrics on the split val, of the best epoch.
        test: metrics on the split test, of the same model.
        best_epoch: counted from 0.
        num_params: trainable parameters of the model.
        minutes: of training, all parts of an interrupted run together.
        device: what it ran on.
    """

    val: dict[str, float]
    test: dict[str, float]
    best_epoch: int
    num_params: int
    minutes: float
    device: str


def train_and_test(
    model: nn.Module,
    task: Task,
    settings: TrainingSettings,
    folder: str | Path,
    *,
    augmentation: nn.Module | None = None,
) -> Outcome:
    """Trains a model, chooses its best epoch on val, and scores that one on test.

    Beside the outcome, `folder` gets `metrics.csv` (one row per epoch), TensorBoard logs,
    checkpoints, and `test_outputs.npz` (outputs and labels of the test split). Training batches,
    and no others, go through the `augmentation`, see `nn_graphs.graphs.augmentations`.

    Raises:
        NNGraphsError: a checkpoint in the folder cannot be read.
        KeyboardInterrupt: the user interrupted the training.
    """
    folder = Path(folder)
    finished = folder / "outcome.json"
    if finished.exists():
        logger.info("%s is finished; its outcome is read.", folder)
        return Outcome(**json.loads(finished.read_text()))
    L.seed_everything(settings.seed, verbose=False)
    module = SupervisedModule(model, task, settings, folder, augmentation)
    with _without_advice():
        trainer = _make_trainer(task, settings, folder)
        _fit(trainer, module)
        best = _read_checkpoint(Path(trainer.checkpoint_callback.best_model_path))
        module.load_state_dict(best["state_dict"])
        trainer.test(module, _loader(task.open_test(), settings), verbose=False)
    outcome = Outcome(
        val=best["val_metrics"],
        test=module.split_metrics["test"],
        best_epoch=best["epoch"],
        num_params=sum(p.numel() for p in model.parameters() if p.requires_grad),
        minutes=module.minutes,
        device=_device_name(trainer),
    )
    if trainer.is_global_zero:
        np.savez(folder / "test_outputs.npz", **module.test_arrays)
        _write_json(finished, dataclasses.asdict(outcome))
    return outcome


def forget_run(folder: str | Path) -> None:
    """Deletes what `train_and_test` wrote into a folder, and nothing else."""
    for name in FILES:
        path = Path(folder) / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


class SupervisedModule(L.LightningModule):
    """A model on a task, as Lightning trains it."""

    automatic_optimization = False  # a step has several backward passes

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        settings: TrainingSettings,
        folder: Path,
        augmentation: nn.Module | None = None,
    ):
        super().__init__()
        self.model, self.task, self.settings, self.folder = model, task, settings, folder
        self.augmentation = augmentation or nn.Identity()
        self._compiled = CompiledIfPossible(model) if settings.is_compiled else None
        self.history: list[dict[str, float]] = []
        self.split_metrics: dict[str, dict[str, float]] = {}
        self.test_arrays: dict[str, np.ndarray] = {}
        self.minutes = self.cpu_minutes = 0.0
        self._train_losses: list[
            tuple[Tensor, int]
        ] = []  # of the epoch's batches, with their sizes
        self._collected: list[tuple[Tensor, Tensor]] = []

    def forward(self, graphs: Any) -> Tensor:
        return self.model(graphs)

    def training_step(self, batch: LabelledGraphs, batch_number: int) -> None:
        graphs, labels = batch
        optimizer = self.optimizers()
        optimizer.zero_grad()
        loss = accumulate_gradients(
            self.model,
            self.task.loss,
            (self.augmentation(graphs), labels),
            chunk_size=self.settings.chunk_size,
            compiled=self._compiled,
            backward=self.manual_backward,
        )
        if self.settings.gradient_clip:
            self.clip_gradients(optimizer, self.settings.gradient_clip, "norm")
        optimizer.step()
        self.lr_schedulers().step()
        self._train_losses.append((loss, len(labels)))

    def validation_step(self, batch: LabelledGraphs, batch_number: int) -> None:
        self._collect(batch)

    def test_step(self, batch: LabelledGraphs, batch_number: int) -> None:
        self._collect(batch)

    def on_validation_epoch_end(self) -> None:
        self._score("val")

    def on_test_epoch_end(self) -> None:
        outputs, labels = self._score("test")
        self.test_arrays = {"outputs": outputs.numpy(), "labels": labels.numpy()}

    def configure_optimizers(self) -> dict[str, Any]:
        settings = self.settings
        optimizer = torch.optim.AdamW(
            self.parameters(),
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            amsgrad=True,
        )
        warmup = max(settings.warmup_steps, 1)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warmup, 1.0)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }

    # An interrupted run goes on with the random numbers that it would have drawn, unless it had
    # stopped before its last epoch.

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["val_metrics"] = self.split_metrics.get("val", {})
        checkpoint["minutes"], checkpoint["cpu_minutes"] = self.minutes, self.cpu_minutes
        checkpoint["history"] = self.history
        checkpoint["is_stopped"] = self.trainer.should_stop
        checkpoint["random_states"] = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "numpy": np.random.get_state(),  # noqa: NPY002 (torch-geometric draws from it)
            "python": random.getstate(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint
        self.minutes, self.cpu_minutes = checkpoint["minutes"], checkpoint["cpu_minutes"]
        self.history = checkpoint["history"]
        self.trainer.should_stop = checkpoint["is_stopped"]

    def on_train_epoch_start(self) -> None:
        resumed = self.__dict__.pop("_resumed", None)
        if resumed is not None:
            states = resumed["random_states"]
            torch.set_rng_state(states["torch"])
            torch.cuda.set_rng_state_all(states["cuda"])
            np.random.set_state(states["numpy"])  # noqa: NPY002
            random.setstate(states["python"])
        self._epoch_start = time.monotonic(), time.process_time()

    def on_train_epoch_end(self) -> None:
        start, cpu_start = self._epoch_start
        self.minutes += (time.monotonic() - start) / 60
        self.cpu_minutes += (time.process_time() - cpu_start) / 60
        limits = self.settings.max_minutes, self.settings.max_cpu_minutes
        for spent, limit in zip((self.minutes, self.cpu_minutes), limits, strict=True):
            if limit is not None and spent >= limit:
                self.trainer.should_stop = True
        loss = sum(loss * size for loss, size in self._train_losses)
        loss = loss / sum(size for _, size in self._train_losses)
        self._train_losses.clear()
        self.log("train/loss", loss, sync_dist=True)
        values = {"train/loss": self.trainer.callback_metrics["train/loss"].item()}
        values |= {f"val/{name}": value for name, value in self.split_metrics["val"].items()}
        self.history.append({"epoch": self.current_epoch, **values, "minutes": self.minutes})
        if self.trainer.is_global_zero:
            pd.DataFrame(self.history).to_csv(self.folder / "metrics.csv", index=False)

    def _collect(self, batch: LabelledGraphs) -> None:
        graphs, labels = batch
        self._collected.append((self.model(graphs).float(), labels))

    def _score(self, split: Literal["val", "test"]) -> tuple[Tensor, Tensor]:
        """Metrics over a whole split; in distributed runs, over all processes' parts of it."""
        outputs, labels = (torch.cat(values) for values in zip(*self._collected, strict=True))
        self._collected.clear()
        if self.trainer.world_size > 1:
            loader = getattr(self.trainer, f"{split}_dataloaders")
            outputs, labels = (
                in_split_order(self.all_gather(values), num_networks=len(loader.dataset))
                for values in (outputs, labels)
            )
        metrics = self.task.metrics(outputs, labels)
        self.split_metrics[split] = metrics
        self.log_dict(
            {f"{split}/{name}": value for name, value in metrics.items()},
            sync_dist=True,  # the same in all processes
        )
        return outputs.cpu(), labels.cpu()


def accumulate_gradients(
    model: nn.Module,
    loss_fn: Callable[[Tensor, Tensor], Tensor],
    batch: LabelledGraphs,
    *,
    chunk_size: int | None = None,
    compiled: Callable[[Graphs], Tensor] | None = None,
    backward: Callable[[Tensor], None] = Tensor.backward,
) -> Float[Tensor, ""]:
    """Adds the gradients of a batch to the model's, chunk by chunk; returns the batch's loss.

    Args:
        model: neural graphs to outputs, each network's from that network alone.
        loss_fn: `(outputs, labels) -> loss`, a mean over networks.
        batch: neural graphs and labels.
        chunk_size: networks in a chunk, see `TrainingSettings`.
        compiled: the model for chunks of exactly this size; None: the model itself.
        backward: what to call with the share of the loss that a chunk has.
    """
    graphs, labels = batch
    size = chunk_size or (len(labels) if compiled else default_chunk_size(model, graphs))
    parts = [(graphs, labels)]
    if size < len(labels) and isinstance(graphs, NeuralGraphStack):
        parts = zip(graphs.split(size), labels.split(size), strict=True)
    total = torch.zeros((), device=labels.device)
    for part, part_labels in parts:
        is_whole = len(part_labels) == min(size, len(labels))
        forward = compiled if compiled is not None and is_whole else model
        loss = loss_fn(forward(part), part_labels) * (len(part_labels) / len(labels))
        backward(loss)
        total += loss.detach()
    return total


def default_chunk_size(model: nn.Module, graphs: Graphs) -> int:
    """Networks that go through a model together."""
    count = getattr(model, "values_per_graph", None)
    values = count and count(graphs)
    if graphs.node_features.device.type != "cpu" or not values:
        return graphs.num_graphs
    return max(1, CACHE_VALUES // values)


def in_split_order(
    parts: Shaped[Tensor, "processes part *shape"], *, num_networks: int
) -> Shaped[Tensor, "{num_networks} *shape"]:
    """The values of a split that was dealt out to processes, each network's once.

    A distributed sampler deals one network to each process in turn, and begins again from the
    first ones where the last round would leave some without.
    """
    return parts.transpose(0, 1).flatten(0, 1)[:num_networks]


class StepBar(L.Callback):
    """One progress bar over all steps of a training, with the last validation beside it."""

    def on_train_start(self, trainer: L.Trainer, module: SupervisedModule) -> None:
        if trainer.is_global_zero:
            self._bar = progress_bar(
                trainer.max_epochs * trainer.num_training_batches,
                unit="steps",
                description="training",
                done=trainer.global_step,
            )

    def on_train_batch_end(self, trainer: L.Trainer, module: SupervisedModule, *_) -> None:
        if trainer.is_global_zero:
            figures = {"epoch": f"{trainer.current_epoch + 1}/{trainer.max_epochs}"}
            for name, value in module.split_metrics.get("val", {}).items():
                figures[f"val {name}"] = f"{value:.4g}"
            self._bar.advance(1, figures)

    def on_train_end(self, trainer: L.Trainer, module: SupervisedModule) -> None:
        if trainer.is_global_zero:
            self._bar.close()

    def on_exception(
        self, trainer: L.Trainer, module: SupervisedModule, error: BaseException
    ) -> None:
        if hasattr(self, "_bar"):
            self._bar.close()


class EpochSampler(Sampler[int]):
    """A random order that depends on the seed and the epoch alone.

    Args:
        sources: one per item; of those that share a source, each epoch has one, drawn anew.
        seed: of all orders and choices.
    """

    def __init__(self, sources: Shaped[np.ndarray, "N"], *, seed: int):
        self.sources, self.seed, self.epoch = sources, seed, 0
        self.num_sources = len(np.unique(sources))

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of every epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_sources

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.sources))
        _, first = np.unique(self.sources[order], return_index=True)
        return iter(order[np.sort(first)].tolist())


def _loader(
    dataset: GraphDataset, settings: TrainingSettings, *, is_shuffled: bool = False
) -> DataLoader:
    sampler = None
    if is_shuffled:
        sources = dataset.sources if settings.has_one_view else np.arange(len(dataset))
        sampler = EpochSampler(sources, seed=settings.seed)
    return DataLoader(
        dataset,
        batch_size=settings.batch_size,
        sampler=sampler,
        collate_fn=_already_a_batch,
        generator=torch.Generator(),  # else it takes numbers from the stream of dropout
    )


def _already_a_batch(batch: LabelledGraphs) -> LabelledGraphs:
    return batch


def _fit(trainer: L.Trainer, module: SupervisedModule) -> None:
    """Trains from the last checkpoint on, where there is one."""
    task, settings = module.task, module.settings
    last = module.folder / "checkpoints" / "last.ckpt"
    if last.exists():
        _read_checkpoint(last)
    try:
        trainer.fit(
            module,
            _loader(task.dataset("train"), settings, is_shuffled=True),
            _loader(task.dataset("val"), settings),
            ckpt_path=last if last.exists() else None,
            weights_only=False,
        )
    except SystemExit:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from None


def _read_checkpoint(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, map_location="cpu", weights_only=False)
    # Damage shows as nearly any exception there is.
    except Exception as error:
        raise NNGraphsError(
            f"go on with the training in {path.parents[1]}",
            found=f"{path} cannot be read ({error}).",
            do=f"Delete {path.parent} to train from the beginning.",
        ) from error


@contextmanager
def _without_advice() -> Iterator[None]:
    with warnings.catch_warnings():
        for message in ADVICE:
            warnings.filterwarnings("ignore", message)
        yield


def _make_trainer(task: Task, settings: TrainingSettings, folder: Path) -> L.Trainer:
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


def _device_name(trainer: L.Trainer) -> str:
    if trainer.strategy.root_device.type == "cuda":
        return torch.cuda.get_device_name(trainer.strategy.root_device)
    return f"cpu ({torch.get_num_threads()} threads)"


def _write_json(path: Path, content: dict) -> None:
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2))
    os.replace(partial, path)
