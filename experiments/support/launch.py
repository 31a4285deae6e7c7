"""What every experiment's `main.py` shares: its folder, seeds, result rows and clear errors."""

import hashlib
import logging
import os
import re
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from support.checks import check_config
from torch import nn

from nn_graphs.datasets import data_root
from nn_graphs.errors import NNGraphsError
from nn_graphs.results import ResultRow, append_results, commit, now, versions
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome

logger = logging.getLogger(__name__)
EXPERIMENTS = Path(__file__).parents[1]


def _default_data_root() -> str:
    """The data root, seen from the repository: an experiment runs in a folder of its own."""
    is_given = "NN_GRAPHS_DATA" in os.environ
    return str(data_root() if is_given else EXPERIMENTS.parent / "data")


def _run_name(overrides: str) -> str:
    """A folder name that equal overrides share."""
    name = re.sub(r"[^\w=,.+-]+", "_", overrides) or "default"
    if len(name) > 120:
        name = f"{name[:100]},{hashlib.sha256(overrides.encode()).hexdigest()[:12]}"
    return name


OmegaConf.register_new_resolver("configs_folder", lambda: str(EXPERIMENTS / "configs"))
OmegaConf.register_new_resolver("data_root", _default_data_root)
OmegaConf.register_new_resolver("run_name", _run_name)


@dataclass(frozen=True)
class Run:
    """One run of an experiment.

    Attributes:
        config: everything that was configured.
        folder: where its files go; the same options lead to the same folder.
        command: that starts it again.
    """

    config: DictConfig
    folder: Path
    command: str

    def build(self, node: DictConfig) -> Any:
        """The object that a part of the config describes."""
        return hydra.utils.instantiate(node, _convert_="all")

    def seeded(self, make_model: Callable[[Task], nn.Module], task: Task) -> nn.Module:
        """A model whose initial values depend on the run's seed alone."""
        torch.manual_seed(self.config.seed)
        return make_model(task)

    def record(self, outcome: Outcome) -> None:
        """Appends a row per metric of the outcome to the result file, once per run."""
        done = self.folder / "recorded"
        if done.exists():
            return
        metrics = {f"val/{name}": value for name, value in outcome.val.items()}
        metrics |= {f"test/{name}": value for name, value in outcome.test.items()}
        rows = [
            ResultRow(
                task=self.config.task,
                model=self.config.encoder.name,
                zoo=self.config.zoo.name,
                seed=self.config.seed,
                metric=name,
                value=round(value, 4),
                params=outcome.num_params,
                minutes=round(outcome.minutes, 2),
                device=outcome.device,
                versions=versions(),
                commit=commit(EXPERIMENTS),
                command=self.command,
                date=now(),
            )
            for name, value in metrics.items()
        ]
        append_results(self.config.results, rows)
        done.touch()


def launch(experiment: Callable[[Run], None], config: DictConfig) -> None:
    """Runs an experiment on a checked config; bad input ends it with a message, not a traceback."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module="lightning", category=FutureWarning)
    try:
        check_config(config)
        experiment(_open_run(config))
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")


def _open_run(config: DictConfig) -> Run:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    if config.restart:
        _empty(folder)
    settled = OmegaConf.to_yaml(OmegaConf.masked_copy(config, _settings(config)), resolve=True)
    record = folder / "config.yaml"
    if record.exists() and record.read_text() != settled:
        raise NNGraphsError(
            f"go on with the run in {folder}",
            found="it was begun with other settings.",
            do="Pass restart=true to begin again.",
        )
    record.write_text(settled)
    options = [option for option in job.overrides.task if not option.startswith("restart=")]
    return Run(config, folder, shlex.join(["python", "main.py", *options]))


def _settings(config: DictConfig) -> list[str]:
    """The keys that a run's outcome depends on."""
    return [key for key in config if key not in ("restart", "results")]


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != ".hydra":
            shutil.rmtree(entry)
        elif entry.is_file() and entry.suffix != ".log":
            entry.unlink()
