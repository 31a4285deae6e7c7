"""CNN generalization: predict the test accuracy of CNNs from their weights.

python main.py                          # NG-GNN on the Small CNN Zoo of CIFAR-10
python main.py encoder=ng_t_wild_park zoo=wild_park trainer=published_wild_park
python main.py target.activation=relu   # only networks with relu
python main.py --multirun sweep=small_cnn_zoos   # all encoders, data sets and seeds
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.generalization import report_generalization
from support.launch import Run, launch
from support.zoos import open_zoo

from nn_graphs.graphs.augmentations import Compose
from nn_graphs.training import train_and_test


def predict(run: Run) -> None:
    config = run.config
    task = run.build(config.target)(open_zoo(run))
    model = run.seeded(run.build(config.encoder.model), task)
    augmentation = Compose(run.build(config.augmentation).values())
    outcome = train_and_test(
        model, task, run.build(config.trainer), run.folder, augmentation=augmentation
    )
    run.record(outcome)
    report_generalization(run, task, outcome)


@hydra.main(version_base=None, config_path="../configs", config_name="cnn_generalization")
def main(config: DictConfig) -> None:
    launch(predict, config)


if __name__ == "__main__":
    main()
