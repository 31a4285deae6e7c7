"""Configs of the tree `nn_graphs.configs`, composed by hydra, and what they describe."""

from pathlib import Path
from typing import Any

import hydra
from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf

from nn_graphs.configs import CONFIGS
from nn_graphs.datasets import data_root
from nn_graphs.errors import NNGraphsError


def names_in(group: str) -> tuple[str, ...]:
    """What can be chosen of a group, e.g. "zoo"; of those in a folder, `vgae/ea_tc_lf`."""
    folder = CONFIGS / group
    files = (path.relative_to(folder).with_suffix("") for path in folder.rglob("*.yaml"))
    return tuple(sorted(file.as_posix() for file in files))


def compose(task: str, *options: str, root: str | Path | None = None) -> DictConfig:
    """The config of an experiment with some options, as its command line composes it.

    Args:
        task: the experiment, e.g. "inr_classification".
        options: as of the command line, e.g. "zoo=mnist_10k", "encoder.model.pooling=mean".
        root: where data sets and zoos are; None: the environment's `NN_GRAPHS_DATA`, else `data`.

    Raises:
        NNGraphsError: an option is not understood.
    """
    try:
        with hydra.initialize_config_dir(str(CONFIGS), version_base=None):
            config = hydra.compose(task, list(options))
    except HydraException as error:
        raise NNGraphsError(
            f"compose {task} with {' '.join(options) or 'no options'}",
            found=" ".join(str(error).split())[:300],
            do="Give options as the command line takes them, e.g. encoder=ng_gnn.",
        ) from error
    OmegaConf.update(config, "data_root", str(data_root(None if root is None else Path(root))))
    return config


def build(node: DictConfig) -> Any:
    """The object that a part of a config describes.

    Raises:
        NNGraphsError: as what makes the object does.
    """
    try:
        return hydra.utils.instantiate(node, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, NNGraphsError):
            raise error.__cause__ from None
        raise
