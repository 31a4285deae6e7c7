"""Which way of reducing messages is the faster: added to their receivers, or in sorted runs?

    python bench_edge_reductions.py

Forward and backward of each operation on a mixed batch of CNNs of the Wild Park's kind, as NG-GNN
does it: `scatter` is the plain side, `segment` ours, which goes through torch-geometric and takes
torch-scatter's kernels where that is installed. The faster one of each operation belongs in
`WAYS` of `nn_graphs/graphs/topology/edge_reductions.py`. Times are those of the thread.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
import torch_geometric.typing
from benchmarks.cnn_steps import CNNStepSetting, batch_maker, make_specs
from support.benchmarks import RESULTS, record
from torch import Tensor

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.topology.edge_reductions import WAYS, Operation, Receivers, Way


def reduction(
    receivers: Receivers, messages: Tensor, operation: Operation, way: Way
) -> Callable[[], Tensor]:
    """A function that reduces messages, forward and backward, and gives the gradient."""
    upstream = torch.randn_like(receivers.reduce(messages, operation))

    def forward_and_backward() -> Tensor:
        reduced = receivers.reduce(messages.requires_grad_(), operation, way=way)
        (gradient,) = torch.autograd.grad(reduced, messages, upstream)
        return gradient

    return forward_and_backward


def compare(functions: dict[Way, Callable[[], Tensor]], *, repeats: int) -> dict[Way, float]:
    """Median seconds of each, taken in turns."""
    times: dict[Way, list[float]] = {way: [] for way in functions}
    for function in functions.values():
        function()
    for _ in range(repeats):
        for way, function in functions.items():
            start = time.thread_time()
            function()
            times[way].append(time.thread_time() - start)
    return {way: statistics.median(values) for way, values in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--dim", type=int, default=64, help="channels of a message")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    setting = CNNStepSetting(
        "gnn", batch_size=options.batch_size, num_architectures=options.batch_size
    )
    templates = [template_from_spec(spec) for spec in make_specs(setting)]
    receivers = batch_maker(setting, templates)().topology.bidirectional.receivers
    messages = torch.randn(len(receivers.receiver), options.dim)
    is_installed = torch_geometric.typing.WITH_TORCH_SCATTER
    for operation in WAYS:
        ways: tuple[Way, Way] = ("scatter", "segment")
        found = compare(
            {way: reduction(receivers, messages, operation, way) for way in ways},
            repeats=options.repeats,
        )
        fastest = min(found, key=found.__getitem__)
        record(
            f"{operation} of messages: scattered, or in sorted runs",
            setting=f"{len(messages):,} edges, {options.dim} channels, forward and backward",
            unit="s",
            plain=found["scatter"],
            ours=found["segment"],
            remark=f"torch-scatter is {'' if is_installed else 'not '}installed. "
            f"WAYS says {WAYS[operation]}; {fastest} was faster.",
            results=options.results,
        )


if __name__ == "__main__":
    main()
