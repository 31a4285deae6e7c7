"""What every experiment's `main.py` shares: its folder, seeds, result rows and clear errors."""

import hashlib
import logging
import re
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from support.checks import check_config
from support.paths import EXPERIMENTS, default_data_root
from torch import nn

from nn_graphs.by_name.composing import build
from nn_graphs.errors import NNGraphsError
from nn_graphs.locks import only_writer
from nn_graphs.results import ResultRow, append_rows, commit, now, versions
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome, forget_run
from nn_graphs.training.run import RECORD

NO_SETTINGS = ("restart", "results", "figures", "data_root")  # what no outcome depends on
NO_OPTIONS = (
    *NO_SETTINGS,
    "task",
    "encoder",
    "zoo",
    "seed",
    "sweep",
)  # or what has a column of its own
RECORDED = "recorded"  # in the folder of a run whose rows are written
NO_RESULTS = ("config.yaml", ".hydra", "tensorboard")  # of a run's folder
OF_ENCODER = ("encoder", "trainer", "augmentation", "target")  # what others than it don't depend on


def _run_name(overrides: str) -> str:
    """A folder name that equal overrides share."""
    name = re.sub(r"[^\w=,.+-]+", "_", overrides) or "default"
    if len(name) > 120:
        name = f"{name[:100]},{hashlib.sha256(overrides.encode()).hexdigest()[:12]}"
    return name


OmegaConf.register_new_resolver("default_data_root", lambda: str(default_data_root()))
OmegaConf.register_new_resolver("run_name", _run_name)


@dataclass(frozen=True)
class Run:
    """One run of an experiment.

    Attributes:
        config: everything that was configured.
        folder: where its files go; the same options lead to the same folder.
        command: that starts it again.
        options: of the command, those that make a result another one, but for the seed.
    """

    config: DictConfig
    folder: Path
    command: str
    options: str

    @property
    def data_root(self) -> Path:
        """Where data sets are."""
        return Path(self.config.data_root)

    def build(self, node: DictConfig) -> Any:
        """The object that a part of the config describes."""
        return build(node)

    def seeded(self, make_model: Callable[[Task], nn.Module], task: Task) -> nn.Module:
        """A model whose initial values depend on the run's seed alone."""
        torch.manual_seed(self.config.seed)
        return make_model(task)

    @rank_zero_only
    def record(
        self, outcome: Outcome, others: Mapping[str, Mapping[str, float]] | None = None
    ) -> None:
        """Appends a row per metric to the result file, once per run.

        Args:
            outcome: of the encoder; its metrics are rows of val and test.
            others: further metrics, by the name of the model; names that begin with that of the
                encoder are of it, all others don't depend on its options.
        """
        metrics = {f"val/{name}": value for name, value in outcome.val.items()}
        metrics |= {f"test/{name}": value for name, value in outcome.test.items()}
        rows = self._rows(self.config.encoder.name, metrics, outcome)
        for model, found in (others or {}).items():
            rows += self._rows(model, found, outcome)
        self.record_once(rows)

    @property
    def is_recorded(self) -> bool:
        """Whether the run's rows are in the result file."""
        return (self.folder / RECORDED).exists()

    def record_once(self, rows: Sequence[ResultRow]) -> None:
        """Appends the run's rows to the result file, unless that is done."""
        with only_writer(self.folder / RECORDED):
            if not self.is_recorded:
                append_rows(self.config.results, rows)
                (self.folder / RECORDED).touch()

    def _rows(self, model: str, metrics: Mapping[str, float], outcome: Outcome) -> list[ResultRow]:
        is_own = model.startswith(self.config.encoder.name)  # as it is, or untrained
        options = self.options.split(" ") if is_own else self.options_of_others
        return [
            ResultRow(
                task=self.config.task,
                model=model,
                zoo=self.config.zoo.name,
                options=" ".join(options),
                seed=self.config.seed,
                metric=name,
                value=round(value, 6),
                params=outcome.num_params if is_own else 0,
                minutes=round(outcome.minutes, 2) if is_own else 0.0,
                device=outcome.device,
                versions=versions(),
                commit=commit(EXPERIMENTS),
                command=self.command,
                date=now(),
                **(outcome.costs or {} if is_own else {}),
            )
            for name, value in metrics.items()
        ]

    @property
    def options_of_others(self) -> list[str]:
        """Options that matter to models that are not the encoder."""
        return [
            one for one in self.options.split(" ") if not one.lstrip("+").startswith(OF_ENCODER)
        ]


def launch(experiment: Callable[[Run], None], config: DictConfig) -> None:
    """Runs an experiment on a checked config; bad input ends it with a message, not a traceback."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    _find_own_modules()
    try:
        check_config(config)
        experiment(_open_run(config))
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")


def _find_own_modules() -> None:
    """Lets configs name what is defined where the command was started, or beside `--config-dir`."""
    folders = (HydraConfig.get().runtime.cwd, *_given_folders())
    sys.path += [folder for folder in folders if folder not in sys.path]


def _given_folders() -> list[str]:
    """That of `--config-dir`, where it is given."""
    sources = HydraConfig.get().runtime.config_sources
    return [source.path for source in sources if source.provider == "command-line"]


def _has_begun(folder: Path) -> bool:
    """Whether a run got further than to its first step: else it has left logs and records alone."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return any(
        file.parts[0] not in NO_RESULTS and file.suffix != ".log" and file.name != RECORD
        for file in files
    )


def _open_run(config: DictConfig) -> Run:
    job = HydraConfig.get()
    folder = Path(job.runtime.output_dir)
    record = folder / "config.yaml"
    if config.restart:
        forget_run(folder)
        for file in (record, folder / RECORDED):
            file.unlink(missing_ok=True)
    content = OmegaConf.to_container(config, resolve=True)
    settled = OmegaConf.to_yaml({k: v for k, v in content.items() if k not in NO_SETTINGS})
    if record.exists() and record.read_text() != settled and _has_begun(folder):
        raise NNGraphsError(
            f"go on with the run in {folder}",
            found="it was begun with other settings.",
            do="Pass restart=true to begin again.",
        )
    record.write_text(settled)
    overrides = [o for o in job.overrides.task if not o.startswith("restart=")]
    own = [part for given in _given_folders() for part in ("--config-dir", given)]
    own += ["--config-name", job.job.config_name] if own else []
    command = shlex.join(["python", "main.py", *own, *overrides])
    options = [o for o in overrides if o.lstrip("+").partition("=")[0] not in NO_OPTIONS]
    return Run(config, folder, command, " ".join(sorted(options)))
