"""How much of an epoch is spent outside forward, backward and the optimizer's step?

    python bench_epoch.py                          # NG-GNN as published, 10,000 INRs 2-32-32-1
    python bench_epoch.py --encoder flat_mlp       # next to no computation: mostly overhead

An epoch runs through `train_and_test`, so loading, logging, checkpoints and validation are in it.
"Plain" is the computation alone: what the same epoch spent in forward passes (of the validation
too), losses, backward passes and steps of the optimizer.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

sys.path.append(str(Path(__file__).parents[1]))

import torch
from benchmarks.training_steps import make_published_model, make_task
from support.benchmarks import RESULTS, device_name, record
from torch import nn

from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import Outcome, TrainingSettings, train_and_test

LAYER_LAYOUT = (2, 32, 32, 1)


class Stopwatch:
    """Adds up the time that some functions take, each part by its name."""

    def __init__(self, *, is_cuda: bool):
        self.seconds: dict[str, float] = {}
        self.is_cuda = is_cuda

    def timed(self, name: str, function: Callable) -> Callable:
        """`function`, whose time is added to a part."""

        def call(*args, **options):
            start = self._now()
            try:
                return function(*args, **options)
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + self._now() - start

        return call

    def _now(self) -> float:
        if self.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter()


@contextmanager
def computation_timed(
    watch: Stopwatch, model: nn.Module, task: INRClassification
) -> Iterator[None]:
    """Times forward passes, losses, backward passes, and steps of AdamW without their closures."""
    adamw_step = torch.optim.AdamW.step

    def step(optimizer: torch.optim.Optimizer, closure: Callable | None = None):
        """Lightning computes loss and gradients in a closure that it hands to the step."""
        loss = None if closure is None else closure()
        watch.timed("optimizer step", adamw_step)(optimizer)
        return loss

    with (
        patch.object(model, "forward", watch.timed("forward", model.forward)),
        patch.object(task, "loss", watch.timed("forward", task.loss)),
        patch.object(torch.Tensor, "backward", watch.timed("backward", torch.Tensor.backward)),
        patch.object(torch.optim.AdamW, "step", step),
    ):
        yield


def measure_epoch(
    encoder: str, settings: TrainingSettings, *, num_networks: int
) -> tuple[Outcome, dict[str, float]]:
    """The outcome of one epoch, whose minutes count, and the seconds of its computation."""
    num_val = max(num_networks // 11, 1)  # 55,000 to 5,000, as in the published split
    task = make_task(LAYER_LAYOUT, num_train=num_networks - num_val, num_val=num_val)
    model = make_published_model(task, encoder)
    watch = Stopwatch(is_cuda=settings.accelerator == "cuda")
    with tempfile.TemporaryDirectory() as folder, computation_timed(watch, model, task):
        outcome = train_and_test(model, task, settings, folder)
    return outcome, watch.seconds


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--encoder", default="ng_gnn", help="a file of configs/encoder")
    parser.add_argument("--num-networks", type=int, default=10_000, help="train and val together")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--device", default=device, choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"))
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    settings = TrainingSettings(
        num_epochs=1,
        batch_size=options.batch_size,
        accelerator=options.device,
        precision=options.precision,
    )
    outcome, parts = measure_epoch(options.encoder, settings, num_networks=options.num_networks)
    total, computing = 60 * outcome.minutes, sum(parts.values())
    shares = ", ".join(f"{name} {100 * part / total:.1f} %" for name, part in parts.items())
    record(
        f"epoch of {options.encoder} over {options.num_networks:,} INRs",
        setting=f"2-32-32-1, batch {options.batch_size}, {options.precision}",
        unit="s",
        plain=computing,
        ours=total,
        remark=f"Plain: the computation alone. {100 * (1 - computing / total):.1f} % of the "
        f"epoch is outside of it ({shares}).",
        device=device_name(options.device),
        results=options.results,
    )


if __name__ == "__main__":
    main()
