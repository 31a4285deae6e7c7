"""How much faster is making a zoo of small CNNs than training one at a time in plain torch?

python bench_cnn_training.py                # digits, and CIFAR-10 where it is under the data root
"""

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from support.benchmarks import RESULTS, record
from support.paths import default_data_root
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import ActivationModule
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.train_stack import Plan
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.stacked_zoos import make_stacked_zoo


@dataclass(frozen=True)
class Setting:
    """Images and epochs of one row."""

    name: str
    images: LabelledImages
    num_epochs: int
    padding: int


SETTINGS = (
    Setting("8x8 digits", LabelledImages("digits"), num_epochs=86, padding=1),
    Setting(
        "32x32 gray CIFAR-10",
        LabelledImages("cifar10", is_gray=True, num_train=2560, num_test=256),
        num_epochs=4,
        padding=0,
    ),
)


def plain_module(spec: NetworkSpec, params: torch.Tensor, dropout: float) -> nn.Module:
    """A network as one writes it in torch, with these initial values."""
    layers: list[nn.Module] = []
    for fan_in, layer in zip(spec.layer_layout, spec.layers[:-1], strict=False):
        size, stride, padding = layer.conv.kernel_size, layer.conv.stride, layer.conv.padding
        layers.append(nn.Conv2d(fan_in, layer.width, size, stride, padding))
        layers += [ActivationModule(layer.activation), nn.Dropout(dropout)]
    last = nn.Linear(spec.layer_layout[-2], spec.layer_layout[-1])
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), last)
    values = spec.parameters.unflatten(params).values()
    with torch.no_grad():
        for parameter, value in zip(module.parameters(), values, strict=True):
            parameter.copy_(value)
    return module


def train_one_by_one(
    recipe: SmallCNNRecipe, root: Path, num_networks: int
) -> tuple[float, list[float]]:
    """Networks per second of the plain way, and test accuracies of the first `num_networks`."""
    images = recipe.images.load(root)
    data, runs = recipe.images.labelled(images), recipe.make_runs(images)
    plan = Plan(recipe.num_epochs, recipe.batch_size)
    start, accuracies = time.perf_counter(), []
    for number in range(num_networks):
        run = runs.table.loc[[number]]
        spec = runs.specs[run["spec"].iloc[0]]
        training = recipe.training(run.iloc[0])
        params = recipe.initial_params(spec, run)[0]
        module = plain_module(spec, params, training.dropout)
        accuracies.append(train_module(module, data, training, plan).test_accuracy.item())
    return num_networks / (time.perf_counter() - start), accuracies


def compare(
    setting: Setting, *, num_plain: int, num_ours: int, num_epochs: int | None, results: Path
) -> None:
    root = default_data_root()
    recipe = SmallCNNRecipe(
        setting.images,
        num_runs=num_ours,
        num_epochs=num_epochs or setting.num_epochs,
        checkpoint_epochs=(),
        batch_size=64,
        padding=setting.padding,
        train_fractions=(1.0,),  # so that a sample takes as long as the mean
        diverged="keep",
    )
    train_one_by_one(replace(recipe, num_epochs=1), root, 1)  # the first is slower
    plain, plain_accuracies = train_one_by_one(recipe, root, num_plain)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:  # all that a user waits for, start-up included
        zoo = make_stacked_zoo(recipe, Path(folder) / "zoo.h5", data_root=root)
        accuracies = zoo.table["test_accuracy"].to_numpy()[:num_plain]
    ours = num_ours / (time.perf_counter() - start)
    record(
        "small CNNs trained per second",
        setting=f"{setting.name}, 1-16-16-16-10, batch 64, {recipe.num_epochs} epochs, own "
        "hyper-parameters",
        unit="CNNs/s",
        plain=plain,
        ours=ours,
        remark=f"{num_ours} CNNs, {num_plain} by the plain way. Mean test accuracy of these: "
        f"plain {statistics.fmean(plain_accuracies):.3f}, ours {accuracies.mean():.3f} (dropout "
        "draws differ).",
        results=results,
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-plain", type=int, default=4, help="networks of the plain way")
    parser.add_argument("--num-ours", type=int, default=256, help="networks of the stacked way")
    parser.add_argument("--num-epochs", type=int, help="default: 86 of digits, 4 of CIFAR-10")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    names = [setting.images.dataset for setting in SETTINGS]
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="these images")
    options = vars(parser.parse_args())
    wanted = options.pop("only")
    for setting in [one for one in SETTINGS if one.images.dataset in wanted]:
        try:
            compare(setting, **options)
        except NNGraphsError as error:
            print(f"{setting.name} is left out: {error}")


if __name__ == "__main__":
    main()
