"""Learning to optimize: learn an optimizer on small trainings, and test it on others.

python main.py                                     # MLPs on digits, ten minutes of one core
python main.py optimizer=hybrid_ng_gnn                # one that reads the neural graph
python main.py optimizer=mlp method=evolution meta.learning_rate=0.001
python main.py inner_tasks=published optimizer=published_ng_gnn method=one_step meta=published \\
    device=cuda                                    # the published settings
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import launch
from support.learned_updates import learn_to_optimize


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="learning_to_optimize"
)
def main(config: DictConfig) -> None:
    launch(learn_to_optimize, config)


if __name__ == "__main__":
    main()
