"""Zoos, tasks, encoders and trainers by name: those of the command line, in a line of Python.

    task = get_task("mnist_10k/inr_classification")
    model = get_encoder("ng_gnn_small", task, "encoder.model.encoder.num_probes=64")
    train_and_test(model, task, get_training("budget"), "runs/first")

Names and options are those of `python main.py zoo=mnist_10k encoder=ng_gnn_small ...`.
"""

from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from nn_graphs.by_name.cards import card_of, cards
from nn_graphs.by_name.composing import build, compose, names_in
from nn_graphs.by_name.configured_zoo import open_configured_zoo
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.tasks.task import Task
from nn_graphs.training.settings import TrainingSettings
from nn_graphs.zoos.zoo import Zoo


def list_zoos() -> tuple[str, ...]:
    """The zoos that there are by name; files and folders of your own are `Zoo.open`, `read_zoo`."""
    return tuple(cards())


def list_tasks() -> tuple[str, ...]:
    """All of them, `<zoo>/<task>`."""
    return tuple(f"{zoo}/{task}" for zoo, card in cards().items() for task in card.tasks)


def list_encoders() -> tuple[str, ...]:
    """The encoders that there are by name, baselines among them."""
    return names_in("encoder")


def get_zoo(name: str, *options: str, root: str | Path | None = None) -> Zoo:
    """The zoo of a name; one that is made here is made on first use, with a progress bar.

    Args:
        name: one of `list_zoos()`.
        options: as of the command line, e.g. "zoo.recipe.num_train=1000", "canonical=[sign]".
        root: where data sets and zoos are; None: the environment's `NN_GRAPHS_DATA`, else `data`.

    Raises:
        NNGraphsError: there is none of this name, an option is not understood, or files that are
            downloaded are not there (what to run is said).
    """
    check_known(name, list_zoos(), asked=f"open the zoo {name!r}")
    return _open(name, compose(card_of(name).tasks[0], f"zoo={name}", *options, root=root))


def get_task(name: str, *options: str, root: str | Path | None = None) -> Task:
    """The task of a name, on its zoo.

    Args:
        name: `<zoo>/<task>`, one of `list_tasks()`.
        options, root: as of `get_zoo`; also e.g. "target.edit=erosion".

    Raises:
        NNGraphsError: as `get_zoo`.
    """
    check_known(name, list_tasks(), asked=f"make the task {name!r}")
    zoo, task = name.split("/")
    config = compose(task, f"zoo={zoo}", *options, root=root)
    return build(config.target)(_open(zoo, config))


def get_encoder(name: str, task: Task, *options: str, seed: int = 0) -> nn.Module:
    """An encoder with its head, for a task; untrained.

    Args:
        name: one of `list_encoders()`.
        task: whose networks it is for.
        options: as of the command line, e.g. "encoder.model.encoder.norm=running".
        seed: of its first values.

    Raises:
        NNGraphsError: there is none of this name, it is fitted rather than trained (boosted trees),
            or it is not for networks of this task.
    """
    check_known(name, list_encoders(), asked=f"make the encoder {name!r}")
    experiment = task.name if task.name in _experiments() else "inr_classification"
    config = compose(experiment, f"encoder={name}", *options)
    if "model" not in config.encoder:
        raise NNGraphsError(
            f"make the encoder {name!r}",
            found="it is no torch module, but fitted as a whole.",
            do=f"Call {config.encoder.fit_and_test._target_}(task, folder).",
        )
    torch.manual_seed(seed)
    return build(config.encoder.model)(task)


def get_training(name: str, *options: str, seed: int = 0) -> TrainingSettings:
    """Settings of a training by name, e.g. "budget": four minutes of a core.

    Args:
        name: one of the files of `nn_graphs/configs/trainer`.
        options: as of the command line, e.g. "trainer.num_epochs=3".
        seed: of batches, dropout and augmentations.

    Raises:
        NNGraphsError: there is none of this name, or an option is not understood.
    """
    check_known(name, names_in("trainer"), asked=f"train by {name!r}")
    return build(compose("inr_classification", f"trainer={name}", f"seed={seed}", *options).trainer)


def _open(name: str, config: DictConfig) -> Zoo:
    """The zoo; where it is to be downloaded first, its terms and size are said."""
    card, root = card_of(name), Path(config.data_root)
    is_missing = card.download is not None and not (root / card.download).exists()
    if is_missing and not Path(config.zoo.path).exists():
        raise NNGraphsError(
            f"open the zoo {name!r}",
            found=f"its files are not in {root / card.download}.",
            do=f"Download them: nn_graphs.download.fetch({card.download!r}, Path({str(root)!r})). "
            f"Size: {card.size}. Licence: {card.licence}.",
        )
    return open_configured_zoo(config)


def _experiments() -> set[str]:
    return {task for card in cards().values() for task in card.tasks}
