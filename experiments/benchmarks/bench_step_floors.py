"""How much work is a training step? Counted, not timed, so that a busy machine does not matter.

    python bench_step_floors.py

Of each variant, forward, backward and optimizer: floating-point operations of the matrix products,
and bytes that eager operations read and write, views left out. Matrix products at the speed of the
machine are a floor: it would be reached if all else were done in the caches beside them.
"""

import argparse
import sys
from itertools import chain
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.bench_encoder_step import COMPARED
from benchmarks.training_steps import VARIANTS, StepSetting, prepare_step
from support.benchmarks import RESULTS, record
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode


class TrafficCounter(TorchDispatchMode):
    """Counts the bytes that operations read and write while it is on; views are free."""

    def __init__(self):
        super().__init__()
        self.num_bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        found = function(*args, **(kwargs or {}))
        if not function.is_view:
            touched = tree_leaves((args, kwargs, found))
            self.num_bytes += sum(value.nbytes for value in touched if isinstance(value, Tensor))
        return found


def count_work(setting: StepSetting) -> tuple[int, int]:
    """Floating-point operations of matrix products, and bytes moved, of one training step."""
    step = prepare_step(setting)
    with FlopCounterMode(display=False) as flops, TrafficCounter() as traffic:
        step()
    return flops.get_total_flops(), traffic.num_bytes


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layer-layout", default="2-32-32-1", help="widths of the networks")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = parser.parse_args()
    layout = tuple(map(int, options.layer_layout.split("-")))
    work = {
        variant: count_work(StepSetting(variant, layout, options.batch_size))
        for variant in VARIANTS
    }
    for question, plain, ours in chain.from_iterable(COMPARED.values()):
        for place, (what, unit) in enumerate((("matrix products", "GFLOP"), ("bytes moved", "GB"))):
            record(
                f"{what} in a training step of {question}",
                setting=f"{options.layer_layout}, batch {options.batch_size}, published settings",
                unit=unit,
                plain=work[plain][place] / 1e9,
                ours=work[ours][place] / 1e9,
                remark="Counted, not timed.",
                results=options.results,
            )


if __name__ == "__main__":
    main()
