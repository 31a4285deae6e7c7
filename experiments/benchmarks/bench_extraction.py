"""How long does a network's unit graph take, how much memory, and does time grow with its edges?

    python bench_extraction.py                   # about 3 minutes, 3 GB
    python bench_extraction.py --only growth     # 1 to 50 million edges, and the figure
    python bench_extraction.py --tiny            # small networks, to try the script

The plain side makes the same graph edge by edge, in dictionaries (networkx), as published code
does: about 20 and 245 s there. Networks are traced before the clock starts. The remark tells the
memory: the most that the process held while the graph was made, less what it held before. Each
measurement runs in a process of its own.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from itertools import pairwise, product
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import networkx as nx
import numpy as np
import torch
from support.benchmarks import RESULTS, record
from torch import nn

from nn_graphs.graphs.extraction import TracedNetwork
from nn_graphs.plotting import new_figure

FIGURE = Path(__file__).with_name("extraction_growth.png")
NAMES = ("mlp", "cnn", "growth")
MILLIONS = (1, 2, 5, 10, 20, 50)


def mlp(widths: tuple[int, ...]) -> nn.Sequential:
    layers = [nn.Linear(fan_in, width) for fan_in, width in pairwise(widths)]
    return nn.Sequential(*(m for layer in layers for m in (layer, nn.ReLU())))[:-1]


def cnn(size: int) -> nn.Sequential:
    """Three convolutions and a linear map, on images `[3, size, size]`; at 32 as published."""
    places = (((size - 2 - 3) // 2 + 1) - 3) // 2 + 1
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * places**2, 10)),
    )


def make_network(name: str, *, is_tiny: bool) -> tuple[nn.Sequential, tuple[int, ...]]:
    """A network, and the shape of one input."""
    if name == "cnn":
        size = 12 if is_tiny else 32
        return cnn(size), (3, size, size)
    if name == "mlp":
        widths = (20, 30, 30, 10) if is_tiny else (784, 1000, 1000, 10)
    else:  # millions of edges
        width = int((float(name) * (1e3 if is_tiny else 1e6) / 2) ** 0.5)
        widths = (width, width, width)
    return mlp(widths), (widths[0],)


def edge_by_edge(module: nn.Sequential, shape: tuple[int, ...]) -> nx.DiGraph:
    """The unit graph of linear maps and convolutions in a row, one edge at a time."""
    graph, sources = nx.DiGraph(), np.arange(np.prod(shape)).reshape(shape)
    for layer in module:
        if isinstance(layer, nn.Flatten):
            sources = sources.reshape(-1)
        elif isinstance(layer, nn.Linear):
            weight, first = layer.weight.tolist(), sources.max() + 1
            targets = first + np.arange(layer.out_features)
            for (row, target), (column, source) in product(enumerate(targets), enumerate(sources)):
                graph.add_edge(int(source), int(target), weight=weight[row][column])
            sources = targets
        elif isinstance(layer, nn.Conv2d):
            sources = _convolve(graph, layer, sources)
    return graph


def _convolve(graph: nx.DiGraph, layer: nn.Conv2d, sources: np.ndarray) -> np.ndarray:
    weight, (stride, _), (size, _) = layer.weight.tolist(), layer.stride, layer.kernel_size
    places = (sources.shape[1] - size) // stride + 1
    targets = sources.max() + 1 + np.arange(layer.out_channels * places**2)
    targets = targets.reshape(layer.out_channels, places, places)
    for out, into in product(range(layer.out_channels), range(layer.in_channels)):
        for row, column, y, x in product(*[range(places)] * 2, *[range(size)] * 2):
            source = int(sources[into, row * stride + y, column * stride + x])
            target = int(targets[out, row, column])
            graph.add_edge(source, target, weight=weight[out][into][y][x])
    return targets


def measure(name: str, way: str, *, is_tiny: bool) -> dict:
    """Edges; seconds, and MB held on top."""
    torch.manual_seed(0)
    module, shape = make_network(name, is_tiny=is_tiny)
    network = TracedNetwork(module, torch.zeros(1, *shape))
    if way == "ours":
        assert network.template.num_edges  # traced before the clock starts
    before, start = _peak_memory(), time.perf_counter()
    if way == "ours":
        num_edges = network.graph("unit", max_edges=None).num_edges
    else:
        num_edges = edge_by_edge(module, shape).number_of_edges()
    seconds = time.perf_counter() - start
    return {"edges": num_edges, "seconds": seconds, "memory": _peak_memory() - before}


def _peak_memory() -> float:
    """The most that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def measured(name: str, way: str, options: argparse.Namespace) -> dict:
    """The same in a process of its own; tiny networks in this one."""
    if options.tiny:
        return measure(name, way, is_tiny=True)
    command = [sys.executable, __file__, "--measure", name, way]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output.splitlines()[-1])


def compare(name: str, options: argparse.Namespace) -> None:
    """One network, both ways."""
    plain, ours = (measured(name, way, options) for way in ("plain", "ours"))
    assert plain["edges"] == ours["edges"]
    network = {"mlp": "784-1000-1000-10", "cnn": "CNN, images 3x32x32"}[name]
    record(
        "unit graph of a network, traced before",
        setting=f"{network}, {ours['edges']:,} edges",
        unit="s",
        plain=plain["seconds"],
        ours=ours["seconds"],
        remark=f"On top of the network: plain {plain['memory']:.0f} MB, "
        f"ours {ours['memory']:.0f} MB. As many edges both ways.",
        results=options.results,
    )


def growth(options: argparse.Namespace) -> None:
    """Networks of one kind and many sizes: seconds and memory against edges."""
    rows = [measured(str(millions), "ours", options) for millions in MILLIONS]
    edges = np.array([row["edges"] for row in rows])
    seconds = np.array([row["seconds"] for row in rows])
    slope = float(np.polyfit(np.log(edges[1:]), np.log(seconds[1:]), 1)[0])
    record(
        "unit graph of the largest network, against linear growth",
        setting=f"MLP of three equal widths, {edges[-1]:,} edges",
        unit="s",
        plain=float(seconds[-2] * edges[-1] / edges[-2]),
        ours=float(seconds[-1]),
        remark=f"Plain: what {edges[-2]:,} edges took, in proportion. Seconds grow as edges to "
        f"the power of {slope:.2f}; {rows[-1]['memory']:,.0f} MB on top of the network.",
        results=options.results,
    )
    if not options.tiny:
        _draw(edges, seconds, [row["memory"] for row in rows])


def _draw(edges: np.ndarray, seconds: np.ndarray, memory: list[float]) -> None:
    with new_figure(7.5, 3, layout="constrained") as figure:
        for axes, values, label in zip(
            figure.subplots(1, 2), (seconds, memory), ("seconds", "MB"), strict=True
        ):
            axes.loglog(edges, values, "o-", label="measured")
            proportional = np.asarray(values)[-1] * edges / edges[-1]
            axes.loglog(edges, proportional, "--", color="grey", label="in proportion")
            axes.set(xlabel="edges of the unit graph", ylabel=label)
            axes.legend()
        figure.savefig(FIGURE)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=NAMES)
    parser.add_argument("--tiny", action="store_true", help="small networks, to try the script")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.measure:
        print(json.dumps(measure(*options.measure, is_tiny=options.tiny)))
        return
    for name in NAMES:
        if options.only in (None, name):
            growth(options) if name == "growth" else compare(name, options)


if __name__ == "__main__":
    main()
