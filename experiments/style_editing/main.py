"""Style editing: train an editor that changes INRs so that they draw edited images.

python main.py                                     # dilation of INRs of digits, minutes
python main.py target.num_copies=8                 # eight networks for each, averaged
python main.py zoo=cifar10_9k target.edit=contrast encoder=nfn_hnp_small
python main.py --multirun encoder=dwsnet_small,nfn_hnp_small,ng_gnn_small seed=0,1,2
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
from omegaconf import DictConfig
from support.launch import launch
from support.predict import predict


@hydra.main(version_base=None, config_path="pkg://nn_graphs.configs", config_name="style_editing")
def main(config: DictConfig) -> None:
    launch(predict, config)


if __name__ == "__main__":
    main()
