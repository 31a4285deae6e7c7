"""Train a zoo of CNNs: many small ones of one architecture, or of many architectures.

    python data/train_cnns.py --kind small --num-runs 1000 --padding 1 --output data/small_cnns.h5
    python data/train_cnns.py --kind wild --num-architectures 200 --output data/wild_cnns.h5
    python data/train_cnns.py --kind small --dataset cifar10 --gray --size 16 --output ...

Without more, settings are those of the Small CNN Zoo and the CNN Wild Park (--help tells which).
Interrupted, the same command goes on from where it was.
"""

import argparse
import sys
from pathlib import Path

from nn_graphs.datasets import DATASETS
from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.makers.cnn_zoos import CNNRecipe
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.wild_cnns import WildCNNRecipe
from nn_graphs.zoos.recipes import open_or_make_zoo

RECIPES = {"small": SmallCNNRecipe, "wild": WildCNNRecipe}
SCALES = {"small": "symmetric", "wild": "standard"}
SETTINGS = ("num_epochs", "batch_size", "val_share", "test_share", "diverged", "seed")
OWN_SETTINGS = {
    "small": ("num_runs", "checkpoint_epochs", "padding"),
    "wild": ("num_architectures", "num_seeds", "checkpoint_every"),
}


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kind", choices=list(RECIPES), required=True)
    parser.add_argument("--output", type=Path, required=True, help="the zoo file to write")
    parser.add_argument("--data-root", type=Path, help="default: $NN_GRAPHS_DATA, else data/")
    parser.add_argument("--device", default="cpu")
    images = parser.add_argument_group("images")
    images.add_argument("--dataset", choices=sorted(DATASETS), default="digits")
    images.add_argument("--gray", action="store_true", help="the mean of the channels")
    images.add_argument("--size", type=int, help="pool to so many pixels a side")
    images.add_argument("--num-train", type=int, help="training images (default: all)")
    images.add_argument("--num-test", type=int, help="test images (default: all)")
    both = parser.add_argument_group("training")
    both.add_argument("--num-epochs", type=int, help="default: 86 (small), 200 (wild)")
    both.add_argument("--batch-size", type=int, help="default: 512")
    both.add_argument("--val-share", type=float, help="of the runs (default: 0.1)")
    both.add_argument("--test-share", type=float, help="default: 0.5 (small), 0.2 (wild)")
    both.add_argument("--diverged", choices=["drop", "keep"], help="default: drop")
    both.add_argument("--seed", type=int)
    small = parser.add_argument_group("small")
    small.add_argument("--num-runs", type=int, help="networks to train (default: 1000)")
    small.add_argument("--checkpoint-epochs", type=int, nargs="+", help="when to keep them")
    small.add_argument("--padding", type=int, help="1 for images below 15 x 15 pixels")
    wild = parser.add_argument_group("wild")
    wild.add_argument("--num-architectures", type=int, help="default: 1000")
    wild.add_argument("--num-seeds", type=int, help="networks of each (default: 1)")
    wild.add_argument("--checkpoint-every", type=int, help="epochs (default: 10)")
    return parser


def make_recipe(options: argparse.Namespace) -> CNNRecipe:
    """The recipe that the options ask for; what is not given is as published."""
    images = LabelledImages(
        options.dataset,
        is_gray=options.gray,
        size=options.size,
        num_train=options.num_train,
        num_test=options.num_test,
        scale=SCALES[options.kind],
    )
    others = set().union(*OWN_SETTINGS.values()) - set(OWN_SETTINGS[options.kind])
    wrong = sorted(name for name in others if getattr(options, name) is not None)
    if wrong:
        raise NNGraphsError(
            f"train a zoo of the kind {options.kind}",
            found=f"--{wrong[0].replace('_', '-')} is an option of the other kind.",
            do="Leave it out, or change --kind.",
        )
    names = (*SETTINGS, *OWN_SETTINGS[options.kind])
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return RECIPES[options.kind](images, **given)


def main() -> None:
    options = make_parser().parse_args()
    try:
        zoo = open_or_make_zoo(
            make_recipe(options),
            options.output,
            data_root=options.data_root,
            device=options.device,
        )
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    last = zoo.table.groupby("run")["test_accuracy"].last()
    print(
        f"{options.output}: {len(zoo)} networks of {len(last)} runs, "
        f"mean test accuracy at the end {last.mean():.3f}"
    )


if __name__ == "__main__":
    main()
