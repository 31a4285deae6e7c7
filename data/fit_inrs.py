"""Fit a zoo of INRs, one small network per image.

    python data/fit_inrs.py --dataset mnist --num-train 10000 --preset dws --output data/mnist.h5
    python data/fit_inrs.py --images photos --num-val 20 --output photos.h5

Images of your own are a folder with a folder of images for each class, or arrays in an .npz or .npy
file (`nn_graphs/datasets/own_images.py` says how).

Interrupted, the same command goes on from the last finished shard.
"""

import argparse
import sys
from pathlib import Path

from nn_graphs.datasets import DATASETS
from nn_graphs.datasets.own_images import read_own_images
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.inr import PRESETS
from nn_graphs.zoos.makers.inr_zoos import INRRecipe
from nn_graphs.zoos.recipes import open_or_make_zoo


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = INRRecipe()
    images = parser.add_mutually_exclusive_group()
    images.add_argument("--dataset", choices=sorted(DATASETS), default=default.dataset)
    images.add_argument("--images", type=Path, help="a folder or file of your own images")
    parser.add_argument("--preset", choices=list(PRESETS), default=default.preset)
    parser.add_argument("--num-train", type=int, help="training images (default: all)")
    parser.add_argument("--num-val", type=int, default=default.num_val)
    parser.add_argument("--num-test", type=int, help="test images (default: all)")
    parser.add_argument("--num-inits", type=int, default=1, help="INRs per training image")
    parser.add_argument("--hidden-widths", type=int, nargs="+", default=default.hidden_widths)
    parser.add_argument("--num-steps", type=int, default=default.num_steps)
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--target-psnr", type=float, default=default.target_psnr, help="in dB")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--output", type=Path, required=True, help="the zoo file to write")
    parser.add_argument("--data-root", type=Path, help="default: $NN_GRAPHS_DATA, else data/")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    options = vars(parse_arguments())
    output, root = options.pop("output"), options.pop("data_root")
    device, own = options.pop("device"), options.pop("images")
    try:
        if own is not None:
            options["dataset"] = str(own.resolve())
            options["contents"] = read_own_images(own).fingerprint
        recipe = INRRecipe(**options)
        zoo = open_or_make_zoo(recipe, output, data_root=root, device=device)
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    print(f"{output}: {len(zoo)} INRs, mean PSNR {zoo.table['psnr'].mean():.1f} dB")


if __name__ == "__main__":
    main()
