"""Where things are, seen from the repository: an experiment runs in a folder of its own."""

import os
from pathlib import Path

from nn_graphs.datasets import data_root

EXPERIMENTS = Path(__file__).parents[1]


def default_data_root() -> Path:
    """The environment's `NN_GRAPHS_DATA`, else the folder `data` of the repository.

    Where there is no repository, but the installed package alone: the folder `data` where the
    command was started.
    """
    repository = EXPERIMENTS.parent
    is_given = bool(os.environ.get("NN_GRAPHS_DATA")) or not (repository / "setup.py").exists()
    return data_root().absolute() if is_given else repository / "data"
