"""CNN generalization: predict the test accuracy of CNNs from their weights.

python main.py                          # NG-GNN on CNNs of digits, made on first use
python main.py encoder=boosted_trees zoo=wild_cnns_digits
python main.py encoder=ng_t_wild_park zoo=wild_park trainer=published_wild_park
python main.py target.activation=relu   # only networks with relu
python main.py --multirun sweep=small_cnn_zoos   # all encoders, data sets and seeds
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import launch
from support.predict import predict


@hydra.main(
    version_base=None, config_path="pkg://nn_graphs.configs", config_name="cnn_generalization"
)
def main(config: DictConfig) -> None:
    launch(predict, config)


if __name__ == "__main__":
    main()
