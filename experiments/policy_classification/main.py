"""Policy classification: which algorithm trained a policy network, told from its weights.

python main.py                            # NG-GNN on 171 policies of reinforcement learning
python main.py --multirun encoder=statnn,boosted_trees,ng_gnn_mixed_small seed=0,1,2
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import launch
from support.predict import predict


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="policy_classification"
)
def main(config: DictConfig) -> None:
    launch(predict, config)


if __name__ == "__main__":
    main()
