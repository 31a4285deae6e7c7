"""Structure and performance: embed networks without labels, and see what embeddings tell of them.

python main.py                                       # StructureReps on MLPs of two moons
python main.py encoder=vgae/gc_rf zoo=digits_mlp_trajectories
python main.py zoo=digits_mlp_trajectories figures=.  # the figures of the README
python main.py --multirun sweep=structure_rows       # all published rows and NG-GNN, three seeds
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import Run, launch
from support.report import report_outcome
from support.structure import Study, report_study, train_encoder
from support.study_settings import StudySettings

from nn_graphs.by_name.configured_zoo import open_configured_zoo
from nn_graphs.tasks.task import Task


def tell_performance(run: Run) -> None:
    """Trains the config's encoder on a zoo of trajectories, and scores its embedding."""
    settings: StudySettings = run.build(run.config.study)
    zoo = open_configured_zoo(run.config)
    settings.check_zoo(zoo, seed=run.config.seed)
    task: Task = run.build(run.config.target)(zoo)
    encoders, outcome = train_encoder(run, task)
    study = Study(zoo, encoders, settings, run.config.seed)
    metrics = study.metrics()
    run.record(outcome, metrics)
    report_outcome(run, task, outcome)
    report_study(run, study, metrics)


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="structure_performance"
)
def main(config: DictConfig) -> None:
    launch(tell_performance, config)


if __name__ == "__main__":
    main()
