"""INR classification: fit (or open) a zoo of INRs, train an encoder on it, score it on test.

python main.py                                     # NG-GNN on INRs of digits, minutes
python main.py encoder=ng_t zoo=mnist trainer=published encoder.model.encoder.num_probes=64
python main.py --multirun encoder=flat_mlp,ng_gnn seed=0,1,2
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import Run, launch
from support.reports import report_inr_classification
from support.zoos import open_zoo

from nn_graphs.graphs.augmentations import Compose
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import train_and_test
from nn_graphs.zoos.canonical import canonical_zoo


def classify(run: Run) -> None:
    config = run.config
    zoo = open_zoo(run).keep_first(config.num_train, split="train")
    zoo = canonical_zoo(zoo, kinds=list(config.canonical))
    task = INRClassification(zoo)
    model = run.seeded(run.build(config.encoder.model), task)
    augmentation = Compose(run.build(config.augmentation).values())
    outcome = train_and_test(
        model, task, run.build(config.trainer), run.folder, augmentation=augmentation
    )
    run.record(outcome)
    report_inr_classification(run, task, outcome)


@hydra.main(version_base=None, config_path="../configs", config_name="inr_classification")
def main(config: DictConfig) -> None:
    launch(classify, config)


if __name__ == "__main__":
    main()
