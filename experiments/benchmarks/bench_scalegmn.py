"""How long does a training step of ScaleGMN take, over torch-geometric edge lists and here?

    python bench_scalegmn.py                       # 64 INRs of layout 2-32-32-1
    python bench_scalegmn.py --layer-layout 2-16-1 --batch-size 4 --num-steps 1

Both sides have the same parameters and, to rounding, the same outputs, which is checked before
anything is timed. A step is forward, cross-entropy, backward and AdamW; the plain side takes the
batch as a whole, as published loaders hand it over. Steps of both sides take turns, so that a busy
machine slows both down.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from benchmarks.published_features import as_tensors
from benchmarks.published_scalegmn import PublishedScaleGMN
from benchmarks.training_steps import NUM_CLASSES, make_published_model, make_task
from support.benchmarks import RESULTS, record, seconds_in_turn
from torch import nn
from torch.nn import functional as F

from nn_graphs.memory import keep_freed_memory
from nn_graphs.training import TrainingSettings, accumulate_gradients


def measure(options: argparse.Namespace) -> None:
    layout = tuple(map(int, options.layer_layout.split("-")))
    task = make_task(layout, num_train=options.batch_size)
    graphs, labels = task.dataset("train").batch([*range(options.batch_size)])
    changes = {"dim": options.dim}
    ours = make_published_model(task, ("scalegmn", "scalegmn_small"), **changes)
    plain = PublishedScaleGMN(layout, dim=options.dim, out_dim=NUM_CLASSES)
    plain.load_ours(ours.state_dict())
    weights, biases = as_tensors(graphs)
    with torch.no_grad():
        error = (ours(graphs) - plain(weights, biases)).abs().max().item()
    if not error < 1e-3:
        raise SystemExit(f"outputs differ by {error:.1e}")

    def plain_gradients() -> None:
        F.cross_entropy(plain(weights, biases), labels).backward()

    def our_gradients() -> None:
        accumulate_gradients(ours, task.objective, (graphs, labels))

    keep_freed_memory()  # as training does
    times = seconds_in_turn(
        step_of(plain, plain_gradients), step_of(ours, our_gradients), repeats=options.num_steps
    )
    record(
        "step of ScaleGMN-B with products",
        setting=f"{options.layer_layout}, batch {options.batch_size}, dim {options.dim}",
        unit="s",
        plain=times[0],
        ours=times[1],
        remark=f"Outputs differ by {error:.1e}.",
        results=options.results,
    )


def step_of(model: nn.Module, gradients: Callable[[], None]) -> Callable[[], None]:
    """A training step of a model."""
    optimizer = TrainingSettings().make_optimizer(model)

    def step() -> None:
        optimizer.zero_grad()
        gradients()
        optimizer.step()

    return step


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layer-layout", default="2-32-32-1", help="of the INRs")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--dim", type=int, default=64, help="of neurons' vectors")
    parser.add_argument("--num-steps", type=int, default=5, help="timed of each side")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


if __name__ == "__main__":
    measure(parse_arguments())
