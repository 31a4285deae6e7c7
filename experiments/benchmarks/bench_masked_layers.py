"""How fast are forward and backward of a masked layer, against dense weight times mask?

    python bench_masked_layers.py                  # every published size, about 2 minutes
    python bench_masked_layers.py --only crossover # from which sparsity on blocks win

The plain side multiplies the weight by a mask of floating-point numbers, as published. Ours is the
layer as it comes, which chooses by itself; one row a layer. The crossover forces blocks: a remark
says up to which density they were the faster ones. Graphs are WS-flex, p = 0.1. Times are those of
the thread, so that other programs on the machine do not count.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as F
from support.benchmarks import RESULTS, record

from nn_graphs.networks.masked import MaskedConv2d, MaskedLayer, MaskedLinear
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.structure.generators import GraphRecipe

SPARSITIES = (0.14, 0.17, 0.2, 0.25, 0.3, 0.4, 0.5)  # of the crossover


@dataclass(frozen=True)
class Setting:
    """A masked layer of a published network, and what goes into it.

    Attributes:
        network: where the layer stands.
        num_nodes, sparsity: of the graph.
        in_channels, out_channels, kernel_size, side: `side` is 0 for linear layers.
        batch_size: inputs.
    """

    network: str
    num_nodes: int
    sparsity: float
    in_channels: int
    out_channels: int
    kernel_size: int
    side: int
    batch_size: int

    def make_layer(self) -> MaskedLayer:
        options = {"sparsity": self.sparsity, "p": 0.1}
        graph = RelationalGraph.from_recipe(GraphRecipe("ws_flex", self.num_nodes, options))
        mask = torch.from_numpy(graph.mask(self.in_channels, self.out_channels))
        channels = self.in_channels, self.out_channels
        if not self.side:
            return MaskedLinear(*channels, bias=False, mask=mask)
        padding = self.kernel_size // 2
        return MaskedConv2d(*channels, self.kernel_size, padding=padding, bias=False, mask=mask)

    def make_inputs(self) -> torch.Tensor:
        shape = (self.side, self.side) if self.side else ()
        return torch.randn(self.batch_size, self.in_channels, *shape)

    def __str__(self) -> str:
        kernel = f", {self.kernel_size}x{self.kernel_size} on {self.side}x{self.side}"
        return (
            f"{self.network}: {self.in_channels} to {self.out_channels}{kernel * bool(self.side)}, "
            f"batch {self.batch_size}, {self.num_nodes} nodes"
        )


PUBLISHED = (
    Setting("MLP", 64, 0.128, 1522, 1522, 1, 0, 128),
    Setting("MLP", 64, 0.128, 512, 1522, 1, 0, 128),
    Setting("MLP", 64, 0.25, 1170, 1170, 1, 0, 128),
    Setting("MLP", 64, 0.5, 784, 784, 1, 0, 128),
    Setting("MLP", 64, 0.96, 520, 520, 1, 0, 128),
    Setting("CNN-6, last stage", 64, 0.128, 700, 700, 3, 7, 8),
    Setting("ResNet-34, first stage", 64, 0.139, 165, 165, 3, 56, 2),
    Setting("ResNet-34, last stage", 64, 0.139, 1318, 1318, 3, 7, 8),
    Setting("ResNet-34-sep, first stage", 64, 0.139, 164, 164, 1, 56, 2),
    Setting("ResNet-34-sep, third stage", 64, 0.139, 656, 656, 1, 14, 8),
    Setting("ResNet-34-sep, last stage", 64, 0.139, 1312, 1312, 1, 7, 8),
    Setting("ResNet-50, last stage", 64, 0.139, 1100, 4400, 1, 7, 8),
    Setting("EfficientNet-B0, last stage", 16, 0.35, 348, 1920, 1, 7, 8),
)
TINY = (Setting("MLP", 8, 0.4, 32, 32, 1, 0, 4), Setting("CNN", 8, 0.4, 16, 16, 3, 4, 2))


def step(layer: MaskedLayer, inputs: torch.Tensor, run: Callable) -> Callable[[], None]:
    inputs = inputs.clone().requires_grad_()
    with torch.no_grad():
        upstream = torch.randn_like(run(inputs))

    def forward_and_backward() -> None:
        inputs.grad = layer.weight.grad = None
        run(inputs).backward(upstream)

    return forward_and_backward


def plain(layer: MaskedLayer) -> Callable[[torch.Tensor], torch.Tensor]:
    mask = layer.mask.float()
    if isinstance(layer, MaskedLinear):
        return lambda inputs: F.linear(inputs, layer.weight * mask)
    return lambda inputs: F.conv2d(inputs, layer.weight * mask, padding=layer.padding)


def compare(setting: Setting, *, repeats: int, execution: str) -> tuple[float, float, MaskedLayer]:
    """Seconds of the plain and of our way, taken in turns."""
    torch.manual_seed(0)
    layer, inputs = setting.make_layer(), setting.make_inputs()
    layer.execution = execution
    assert torch.allclose(layer(inputs), plain(layer)(inputs), rtol=1e-3, atol=1e-4)
    steps = step(layer, inputs, plain(layer)), step(layer, inputs, layer)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(repeats + 1):
        for run, found in zip(steps, times, strict=True):
            start = time.thread_time()
            run()
            if number:  # the first one is not counted
                found.append(time.thread_time() - start)
    return *map(statistics.median, times), layer


def measure_published(settings: tuple[Setting, ...], options: argparse.Namespace) -> None:
    for setting in settings:
        seconds, ours, layer = compare(setting, repeats=options.repeats, execution="auto")
        layer.execution = "auto"
        takes_blocks = layer._takes_blocks(setting.make_inputs())
        record(
            "forward and backward of a masked layer",
            setting=f"{setting}, density {layer.density:.3f}",
            unit="s",
            plain=seconds,
            ours=ours,
            remark="Blocks." if takes_blocks else "Dense.",
            results=options.results,
        )


def measure_crossover(options: argparse.Namespace) -> None:
    """Width 1,152, 18 channels a node, batch 128, from sparse to dense."""
    width = 32 if options.tiny else 1152
    found = []
    for sparsity in SPARSITIES[-2:] if options.tiny else SPARSITIES:
        num_nodes = 8 if options.tiny else 64
        setting = Setting("MLP", num_nodes, sparsity, width, width, 1, 0, 128)
        seconds, ours, layer = compare(setting, repeats=options.repeats, execution="blocks")
        found.append((layer.density, seconds, ours))
        print(f"density {layer.density:.3f}: blocks are {seconds / ours:.2f} times as fast")
    winning = [density for density, *_ in takewhile(lambda row: row[1] > row[2], found)]
    up_to = f"up to a density of {winning[-1]:.2f}" if winning else "at none of these densities"
    ratios = ", ".join(f"{density:.2f}: {plain / ours:.2f}" for density, plain, ours in found)
    record(
        "blocks against dense weight times mask",
        setting=f"{setting}, density {found[0][0]:.3f}",
        unit="s",
        plain=found[0][1],
        ours=found[0][2],
        remark=f"Blocks are faster {up_to}; times as fast by density: {ratios}.",
        results=options.results,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("published", "crossover"))
    parser.add_argument("--repeats", type=int, default=9, help="timed, on each side")
    parser.add_argument("--tiny", action="store_true", help="small layers, to try the script")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    torch.set_num_threads(1)
    if options.only != "crossover":
        measure_published(TINY if options.tiny else PUBLISHED, options)
    if options.only != "published":
        measure_crossover(options)


if __name__ == "__main__":
    main()
