"""A model on a task, as Lightning trains it."""

import time
from functools import partial
from pathlib import Path
from typing import Any, Literal

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from nn_graphs.networks.compiling import CompiledIfPossible
from nn_graphs.tasks.task import Task
from nn_graphs.threads import num_cores, one_thread
from nn_graphs.training.checkpoint import random_states, restore_random_states
from nn_graphs.training.chunks import accumulate_gradients, forward_in_chunks
from nn_graphs.training.finite_checks import check_loss, check_outputs
from nn_graphs.training.loading import in_split_order
from nn_graphs.training.settings import TrainingSettings
from nn_graphs.zoos.batches import LabelledGraphs


class TaskModule(L.LightningModule):
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
        self.averaged = _averaged(model, settings.ema_decay)
        self._compiled: CompiledIfPossible | None = None
        self.history: list[dict[str, float]] = []
        self.split_metrics: dict[str, dict[str, float]] = {}
        self.test_arrays: dict[str, np.ndarray] = {}
        self.minutes = self.cpu_minutes = 0.0
        self._train_losses: list[tuple[Tensor, int]] = []  # of batches, with their sizes
        self._collected: list[tuple[Tensor, Tensor]] = []

    def forward(self, graphs: Any) -> Tensor:
        return self.model(graphs)

    def on_fit_start(self) -> None:
        if self.settings.is_compiled:
            in_threads = self.device.type == "cpu" and num_cores() > 1
            self._compiled = CompiledIfPossible(self.model, in_threads=in_threads)

    def training_step(self, batch: LabelledGraphs, batch_number: int) -> None:
        graphs, labels = batch
        optimizer, cores = self.optimizers(), num_cores()
        optimizer.zero_grad()
        with one_thread():  # cores share chunks, see `nn_graphs.threads`
            loss = accumulate_gradients(
                self.model,
                self.task.objective,
                (self.augmentation(graphs), labels),
                chunk_size=self.settings.chunk_size,
                compiled=self._compiled,
                backward=self.manual_backward,
                num_workers=cores,
            )
            self._check_loss(loss)
            if self.settings.gradient_clip:
                self.clip_gradients(optimizer, self.settings.gradient_clip, "norm")
            optimizer.step()
            if self.averaged is not None:
                self.averaged.update_parameters(self.model)
        self.lr_schedulers().step()
        self._train_losses.append((loss, len(labels)))

    def validation_step(self, batch: LabelledGraphs, batch_number: int) -> None:
        self._collect(batch, batch_number)

    def test_step(self, batch: LabelledGraphs, batch_number: int) -> None:
        self._collect(batch, batch_number)

    def on_validation_epoch_end(self) -> None:
        self._score("val")

    def on_test_epoch_end(self) -> None:
        outputs, labels = self._score("test")
        self.test_arrays = {"outputs": outputs.numpy(), "labels": labels.numpy()}

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = self.settings.make_optimizer(self.model)
        num_steps = int(self.trainer.estimated_stepping_batches)
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimizer, partial(self.settings.rate_factor, num_steps=num_steps)
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
        checkpoint["random_states"] = random_states()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._resumed = checkpoint
        self.minutes, self.cpu_minutes = checkpoint["minutes"], checkpoint["cpu_minutes"]
        self.history = checkpoint["history"]
        self.trainer.should_stop = checkpoint["is_stopped"]

    def on_train_epoch_start(self) -> None:
        resumed = self.__dict__.pop("_resumed", None)
        if resumed is not None:
            restore_random_states(resumed["random_states"])
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
        spent = {"minutes": self.minutes, "cpu_minutes": self.cpu_minutes}
        step = {"epoch": self.current_epoch, "step": self.global_step}
        self.history.append({**step, **values, **spent})
        if self.trainer.is_global_zero:
            pd.DataFrame(self.history).to_csv(self.folder / "metrics.csv", index=False)

    @property
    def judged(self) -> nn.Module:
        """The model that is validated and tested: with averaged weights, where they are."""
        return self.model if self.averaged is None else self.averaged.module

    def _check_loss(self, loss: Tensor) -> None:
        place = {"epoch": self.current_epoch + 1, "step": self.global_step + 1}
        check_loss(loss, **place, settings=self.settings)

    def _collect(self, batch: LabelledGraphs, batch_number: int) -> None:
        graphs, labels = batch
        cores = num_cores()
        with one_thread():
            outputs = forward_in_chunks(
                self.judged,
                graphs,
                outputs=self.task.outputs,
                key=batch_number,  # what is drawn is the same in every epoch
                chunk_size=self.settings.chunk_size,
                num_workers=cores,
            )
        self._collected.append((outputs.float(), labels))

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
        asked = f"score {self.task.name} on the split {split}"
        check_outputs(outputs, self.task.zoo.indices(split), asked=asked)
        found = self.task.metrics(outputs, labels)
        metrics = {name: float(value) for name, value in found.items()}  # not numpy's, for files
        self.split_metrics[split] = metrics
        self.log_dict(
            {f"{split}/{name}": value for name, value in metrics.items()},
            sync_dist=True,  # the same in all processes
        )
        return outputs.cpu(), labels.cpu()


def _averaged(model: nn.Module, decay: float | None) -> AveragedModel | None:
    """A copy of a model for moving averages of its weights, and of its buffers."""
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True).requires_grad_(False)
