"""Sparse structure: what graphs tell of networks, what pruning leaves, and a search for structures.

python main.py                               # accuracy from the structure of sampled graphs
python main.py study=lottery_tickets         # accuracy against density
python main.py study=structure_search        # evolution against chance
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import Run, launch
from support.relational import load_data
from support.sparse_structure import Study, in_memory


def study_structure(run: Run) -> None:
    """Makes the study of the config, whose settings it checks, and does it on the data set."""
    study: Study = run.build(run.config.study)
    study.perform(run, in_memory(load_data(run)))


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="sparse_structure"
)
def main(config: DictConfig) -> None:
    launch(study_structure, config)


if __name__ == "__main__":
    main()
