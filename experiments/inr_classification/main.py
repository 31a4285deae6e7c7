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
from support.launch import launch
from support.predict import predict


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="inr_classification"
)
def main(config: DictConfig) -> None:
    launch(predict, config)


if __name__ == "__main__":
    main()
