"""How much faster is recording trajectories than training one network after another in plain torch?

python bench_trajectories.py                # two moons and digits, 64 runs of 200 epochs
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as F
from support.benchmarks import RESULTS, record
from torch import Tensor, nn

from nn_graphs.networks.classifiers.data import LabelledData, Orders
from nn_graphs.networks.classifiers.single import torch_optimizer
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.labelled_tables import LabelledTable
from nn_graphs.zoos.makers.stacked_zoos import make_stacked_zoo
from nn_graphs.zoos.makers.structures import MLPStructures
from nn_graphs.zoos.makers.trajectories import TrajectoryRecipe


@dataclass(frozen=True)
class Setting:
    """Data and hidden widths of one row."""

    name: str
    data: LabelledImages | LabelledTable
    hidden: tuple[int, ...]


SETTINGS = (
    Setting("two moons", LabelledTable("moons"), (16, 16)),
    Setting("digits", LabelledImages("digits", scale="standard"), (29, 28)),
)


def plain_module(spec: NetworkSpec, params: Tensor) -> nn.Module:
    """An MLP as one writes it in torch, with these initial values."""
    layers: list[nn.Module] = []
    for fan_in, layer in zip(spec.layer_layout, spec.layers, strict=False):
        layers += [nn.Linear(fan_in, layer.width), nn.ReLU()]
    module = nn.Sequential(*layers[:-1])
    nn.utils.vector_to_parameters(params, module.parameters())
    return module


@torch.no_grad()
def score(module: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, float]:
    """Accuracy and loss, of all inputs at once."""
    logits = module(inputs)
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    return accuracy, F.cross_entropy(logits, labels).item()


def record_one(recipe: TrajectoryRecipe, data: LabelledData, inputs: Tensor, run, spec) -> float:
    """Trains a network and keeps it, and its scores, after each epoch; the last test accuracy."""
    training, number = recipe.training(run.iloc[0]), data.num_train
    module = plain_module(spec, recipe.initial_params(spec, run)[0])
    optimizer = torch_optimizer(training.optimizer, module)
    orders = Orders(number, fractions=[1.0], seeds=[recipe.seed], batch_size=recipe.batch_size)
    kept = []
    for epoch in range(recipe.num_epochs):
        for index in orders.epoch(epoch)[:, 0]:
            optimizer.zero_grad()
            F.cross_entropy(module(inputs[index]), data.labels[index]).backward()
            optimizer.step()
        scores = [
            score(module, inputs[part], data.labels[part])
            for part in (slice(number), slice(number, None))
        ]
        params = nn.utils.parameters_to_vector(module.parameters()).detach()
        kept.append((params, scores))
    return kept[-1][1][1][0]


def record_one_by_one(recipe: TrajectoryRecipe, num_runs: int) -> tuple[float, list[float]]:
    """Runs per second of the plain way, and test accuracies of the first `num_runs`."""
    dataset = recipe.load()
    data, runs = recipe.labelled(dataset), recipe.make_runs(dataset)
    start = time.perf_counter()
    inputs = data.take(torch.arange(data.num_all))
    accuracies = [
        record_one(recipe, data, inputs, runs.table.loc[[number]], runs.specs[0])
        for number in range(num_runs)
    ]
    return num_runs / (time.perf_counter() - start), accuracies


def compare(
    setting: Setting, *, num_plain: int, num_ours: int, num_epochs: int, results: Path
) -> None:
    recipe = TrajectoryRecipe(
        setting.data,
        MLPStructures({"regular": setting.hidden}),
        num_runs=num_ours,
        num_epochs=num_epochs,
        learning_rate=(3e-4, 1e-2),
        diverged="keep",
    )
    record_one_by_one(replace(recipe, num_epochs=1), 1)  # the first is slower
    plain, plain_accuracies = record_one_by_one(recipe, num_plain)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:  # all that a user waits for, the file included
        table = make_stacked_zoo(recipe, Path(folder) / "zoo.h5").table
        last = table[table["epoch"] == num_epochs]["test_accuracy"].to_numpy()[:num_plain]
    ours = num_ours / (time.perf_counter() - start)
    record(
        "trajectories recorded per second",
        setting=f"{setting.name}, hidden {layout(setting.hidden)}, batch {recipe.batch_size}, "
        f"{num_epochs} epochs, each kept and scored",
        unit="runs/s",
        plain=plain,
        ours=ours,
        remark=f"{num_ours} runs, {num_plain} by the plain way. Mean test accuracy of these: "
        f"plain {statistics.fmean(plain_accuracies):.3f}, ours {last.mean():.3f}.",
        results=results,
    )


def layout(hidden: Sequence[int]) -> str:
    return "-".join(map(str, hidden))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-plain", type=int, default=4, help="runs of the plain way")
    parser.add_argument("--num-ours", type=int, default=64, help="runs of the stacked way")
    parser.add_argument("--num-epochs", type=int, default=200)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    names = [setting.data.dataset for setting in SETTINGS]
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="these data")
    options = vars(parser.parse_args())
    wanted = options.pop("only")
    for setting in [one for one in SETTINGS if one.data.dataset in wanted]:
        compare(setting, **options)


if __name__ == "__main__":
    main()
