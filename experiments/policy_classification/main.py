"""Policy classification: which algorithm trained a policy network, told from its weights.

python main.py                            # NG-GNN on 171 policies of reinforcement learning
python main.py --multirun encoder=statnn,ng_gnn_mixed seed=0,1,2
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import Run, launch
from support.reports import report_classification
from support.zoos import open_zoo

from nn_graphs.graphs.augmentations import Compose
from nn_graphs.training import train_and_test


def classify(run: Run) -> None:
    config = run.config
    task = run.build(config.target)(open_zoo(run))
    model = run.seeded(run.build(config.encoder.model), task)
    augmentation = Compose(run.build(config.augmentation).values())
    outcome = train_and_test(
        model, task, run.build(config.trainer), run.folder, augmentation=augmentation
    )
    run.record(outcome)
    report_classification(run, task, outcome)


@hydra.main(version_base=None, config_path="../configs", config_name="policy_classification")
def main(config: DictConfig) -> None:
    launch(classify, config)


if __name__ == "__main__":
    main()
