"""A run: trains, chooses the best epoch on val, scores it on test, and writes what it found."""

from pathlib import Path

import lightning as L
from torch import nn

from nn_graphs.memory import keep_freed_memory
from nn_graphs.tasks.task import Task
from nn_graphs.training.loading import make_loader
from nn_graphs.training.module import SupervisedModule
from nn_graphs.training.outcome import Outcome, read_outcome, write_outcome
from nn_graphs.training.record import check_record
from nn_graphs.training.resuming import read_checkpoint
from nn_graphs.training.settings import TrainingSettings
from nn_graphs.training.trainer import device_name, make_trainer, without_advice


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
    read, and another one is refused; `forget_run` empties it. Beside the outcome, `folder` gets
    `run.json` (which run it belongs to), `metrics.csv` (one row per epoch), TensorBoard logs,
    checkpoints, and `test_outputs.npz` (outputs and labels of the test split). Training batches,
    and no others, go through the `augmentation`, see `nn_graphs.graphs.augmentations`.

    Raises:
        NNGraphsError: the folder belongs to another run (other settings, another number of networks
            or parameters), or a checkpoint in it cannot be read.
        KeyboardInterrupt: the user interrupted the training.
    """
    folder = Path(folder)
    check_record(folder, model, task, settings)
    finished = read_outcome(folder)
    if finished is not None:
        return finished
    L.seed_everything(settings.seed, verbose=False)
    keep_freed_memory()
    module = SupervisedModule(model, task, settings, folder, augmentation)
    with without_advice():
        trainer = make_trainer(task, settings, folder)
        _fit(trainer, module)
        best = read_checkpoint(Path(trainer.checkpoint_callback.best_model_path))
        module.load_state_dict(best["state_dict"])
        trainer.test(module, make_loader(task.open_test(), settings), verbose=False)
    outcome = Outcome(
        val=best["val_metrics"],
        test=module.split_metrics["test"],
        best_epoch=best["epoch"],
        num_params=sum(p.numel() for p in model.parameters() if p.requires_grad),
        minutes=module.minutes,
        device=device_name(trainer),
    )
    if trainer.is_global_zero:
        write_outcome(folder, outcome, **module.test_arrays)
    return outcome


def _fit(trainer: L.Trainer, module: SupervisedModule) -> None:
    """Trains from the last checkpoint on, where there is one."""
    task, settings = module.task, module.settings
    last = module.folder / "checkpoints" / "last.ckpt"
    if last.exists():
        read_checkpoint(last)
    try:
        trainer.fit(
            module,
            make_loader(task.dataset("train"), settings, is_shuffled=True),
            make_loader(task.dataset("val"), settings),
            ckpt_path=last if last.exists() else None,
            weights_only=False,
        )
    except SystemExit:  # what Lightning makes of an interruption
        raise KeyboardInterrupt from None
