"""How fast are directed acyclic graphs put into layers, run as networks, and trained by hundreds?

    python bench_dag_networks.py                   # all three questions
    python bench_dag_networks.py --only step       # layering, step or training

The plain sides: networkx for layers; for a step a product for each pair of layers, as published
(deepstruct), of the same formula and weights; for training one network at a time with torch's own
optimizer, which already takes one product a layer. Graphs are Watts-Strogatz, Barabasi-Albert and
Erdos-Renyi in turn.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import networkx as nx
import numpy as np
import torch
import torch.nn.functional as F
from support.benchmarks import RESULTS, record, seconds, seconds_in_turn
from torch import Tensor, nn

from nn_graphs.datasets import load_images
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.schedules import Schedule
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe, train_classifiers
from nn_graphs.networks.dag.dag_family import stack_dags
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.relational.family import groups_by_width
from nn_graphs.structure.layered_graph import LayeredGraph

RECIPE = Recipe(Optimizer("adam", 3e-3), Schedule("cosine"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("layering", "step", "training"))
    parser.add_argument("--repeats", type=int, default=9, help="timed, on each side")
    parser.add_argument("--max-edges", type=float, default=5e7, help="of the growing graphs")
    parser.add_argument("--num-networks", type=int, default=256, help="trained as stacks")
    parser.add_argument("--num-plain", type=int, default=12, help="networks of the plain way")
    parser.add_argument("--num-nodes", type=int, default=48, help="of each trained structure")
    parser.add_argument("--num-epochs", type=int, default=10)
    parser.add_argument("--chunk-size", type=int, default=64, help="networks of a stack")
    parser.add_argument("--tiny", action="store_true", help="small graphs, to try the script")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # on both sides
    for name, compare in QUESTIONS.items():
        if options.only in (None, name):
            compare(options)


def compare_layering(options: argparse.Namespace) -> None:
    size, length = (20, 500) if options.tiny else (200, 100_000)
    layers = np.repeat(np.arange(5), size)
    wide = np.nonzero(layers[:, None] + 1 == layers)
    growth = growth_of_layering(options.max_edges if not options.tiny else 2e4)
    path = np.arange(length - 1), np.arange(1, length)
    for setting, (sources, targets), remark in (
        (f"{5 * size:,} nodes, {len(wide[0]):,} edges, 5 layers", wide, growth),
        (f"a path of {length:,} nodes", path, ""),
    ):
        graph = nx.DiGraph()
        graph.add_edges_from(zip(sources.tolist(), targets.tolist(), strict=True))
        found = LayeredGraph.from_edges(sources, targets).layers
        generations = list(nx.topological_generations(graph))
        assert all(found[node] == number for number, g in enumerate(generations) for node in g)
        record(
            "layers of a directed acyclic graph",
            setting=setting,
            unit="s",
            plain=seconds(lambda g=graph: list(nx.topological_generations(g)), repeats=3),
            ours=seconds(
                lambda ends=(sources, targets): LayeredGraph.from_edges(*ends),
                repeats=options.repeats,
            ),
            remark=f"Checks and sorts edges, too; networkx has its graph already.{remark}",
            results=options.results,
        )


def growth_of_layering(max_edges: float) -> str:
    """Seconds by edges, and the exponent of their growth."""
    counts, times = [], []
    generator = np.random.default_rng(0)
    while not counts or counts[-1] * 8 <= max_edges:
        num_edges = 8 * counts[-1] if counts else 1_500
        ends = np.sort(generator.integers(num_edges // 20, size=(2, num_edges)), axis=0)
        ends = ends[:, ends[0] < ends[1]]
        start = time.perf_counter()
        LayeredGraph.from_edges(ends[0], ends[1], num_edges // 20)
        counts.append(num_edges)
        times.append(time.perf_counter() - start)
    exponent = np.polyfit(np.log(counts[-3:]), np.log(times[-3:]), 1)[0]
    shown = ", ".join(f"{c:,}: {t:.3g}" for c, t in zip(counts, times, strict=True))
    return f" Seconds by edges of random graphs: {shown}; exponent {exponent:.2f}."


def compare_step(options: argparse.Namespace) -> None:
    num_nodes, num_layers = (24, 6) if options.tiny else (200, 50)
    small_world = LayeredGraph.from_networkx(nx.watts_strogatz_graph(num_nodes, 4, 0.5, seed=1))
    generator = np.random.default_rng(0)
    layers = np.arange(num_nodes) // (num_nodes // num_layers)
    is_edge = (layers[:, None] < layers) & (generator.random((num_nodes, num_nodes)) < 0.3)
    skipping = LayeredGraph.from_edges(*is_edge.nonzero(), num_nodes, layers=layers)
    inputs = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    for name, structure in (
        (f"Watts-Strogatz graph of {num_nodes} nodes", small_world),
        (f"{num_nodes} nodes in {num_layers} layers, skips between all of them", skipping),
    ):
        network = DAGNetwork(
            structure,
            in_features=64,
            out_features=10,
            activation="tanh",
            generator=torch.Generator().manual_seed(0),
        )
        plain = PairwiseNetwork(network)
        with torch.no_grad():
            wanted, found = plain(inputs), network(inputs)
        error = float((found - wanted).abs().max())
        assert error < 1e-6 * max(1, float(wanted.abs().max()))
        steps = step_of(plain, inputs), step_of(network, inputs)
        times = seconds_in_turn(*steps, repeats=options.repeats)
        record(
            "forward and backward of a directed acyclic network",
            setting=f"{name}, {structure.num_layers} layers, batch 64",
            unit="s",
            plain=times[0],
            ours=times[1],
            remark=f"{plain.num_products} products the plain way, {len(network.layers)} ours. "
            f"Outputs differ by {error:.0e} at most.",
            results=options.results,
        )


class PairwiseNetwork(nn.Module):
    """The formula of a `DAGNetwork` with a masked matrix for each pair of connected layers."""

    def __init__(self, network: DAGNetwork):
        super().__init__()
        self.biases = nn.ParameterList(layer.bias.detach() for layer in network.layers)
        sizes = [network.layers[0].in_features, *(one.out_features for one in network.layers)]
        self.reads: list[list[int]] = []
        weights, masks = [], []
        for layer, reads in zip(network.layers, network.reading.layers, strict=True):
            own = [sizes[read] for read in reads]
            parts = layer.weight.detach().split(own, 1), layer.mask.split(own, 1)
            kept = [place for place, mask in enumerate(parts[1]) if mask.any()]
            self.reads.append([reads[place] for place in kept])
            weights += [parts[0][place].clone() for place in kept]
            masks += [parts[1][place].float() for place in kept]
        self.weights, self.masks = nn.ParameterList(weights), masks

    @property
    def num_products(self) -> int:
        return len(self.weights)

    def forward(self, inputs: Tensor) -> Tensor:
        values, number = [inputs], 0
        for bias, reads in zip(self.biases, self.reads, strict=True):
            total = bias
            for read in reads:
                weight = self.weights[number] * self.masks[number]
                total = total + F.linear(values[read], weight)
                number += 1
            values.append(total.tanh())
        return total


def step_of(network: nn.Module, inputs: Tensor) -> Callable[[], None]:
    def step() -> None:
        network.zero_grad()
        network(inputs).square().sum().backward()

    return step


def compare_training(options: argparse.Namespace) -> None:
    data = LabelledData.from_dataset(load_images("digits"))
    plan = Plan(options.num_epochs, 64, is_compiled=False)
    structures = [sample_structure(seed, options.num_nodes) for seed in range(options.num_networks)]
    order = np.argsort([one.num_layers for one in structures], kind="stable")
    places = np.linspace(0, len(structures) - 1, min(options.num_plain, len(structures)))
    sample = order[places.round().astype(int)].tolist()
    train_module(make_network(structures[0], 0), data, RECIPE, Plan(1, 64))  # what torch imports
    start = time.perf_counter()
    scores = [
        train_module(make_network(structures[n], n), data, RECIPE, plan).test_accuracy
        for n in sample
    ]
    plain = time.perf_counter() - start
    start = time.perf_counter()
    found, share = train_stacks(structures, data, plan, options.chunk_size)
    ours = time.perf_counter() - start
    accuracies = 100 * float(torch.cat(scores).mean()), 100 * float(np.mean(found[sample]))
    depths = [one.num_layers for one in structures]
    record(
        "networks of directed acyclic graphs, each of its own",
        setting=f"{len(structures)} graphs of {options.num_nodes} nodes, {min(depths)} to "
        f"{max(depths)} layers, digits, {options.num_epochs} epochs",
        unit="networks/s",
        plain=len(sample) / plain,
        ours=len(structures) / ours,
        remark=f"{len(sample)} networks the plain way, all as stacks of up to "
        f"{options.chunk_size}, one process on both sides. Mean test accuracy of the same "
        f"{len(sample)}: plain {accuracies[0]:.2f}, ours {accuracies[1]:.2f} %. {share:.0%} of "
        "the weights of stacks do not exist.",
        results=options.results,
    )


def sample_structure(seed: int, num_nodes: int) -> LayeredGraph:
    """Of one of three families in turn, with parameters drawn by the seed."""
    generator = np.random.default_rng(seed)
    rewiring, degree = generator.random(), 2 * int(generator.integers(2, 5))
    graphs = (
        lambda: nx.watts_strogatz_graph(num_nodes, degree, rewiring, seed=seed),
        lambda: nx.barabasi_albert_graph(num_nodes, degree // 2, seed=seed),
        lambda: nx.gnp_random_graph(num_nodes, degree / (num_nodes - 1), seed=seed),
    )
    return LayeredGraph.from_networkx(graphs[seed % 3]())


def make_network(structure: LayeredGraph, seed: int) -> DAGNetwork:
    generator = torch.Generator().manual_seed(seed)
    return DAGNetwork(structure, in_features=64, out_features=10, generator=generator)


def train_stacks(
    structures: Sequence[LayeredGraph], data: LabelledData, plan: Plan, chunk_size: int
) -> tuple[np.ndarray, float]:
    """Test accuracies, and the share of weights that no network has."""
    found, shares = np.zeros(len(structures)), []
    for group in groups_by_width([one.num_layers for one in structures], chunk_size):
        family = stack_dags([make_network(structures[n], n) for n in group.tolist()])
        last = train_classifiers(
            family.model,
            family.params,
            family.buffers,
            data,
            [RECIPE] * len(group),
            plan,
            trainable=family.trainable,
        )[-1]
        found[group] = last.scores.test_accuracy.numpy()
        shares.append(family.padded_share)
    return found, float(np.mean(shares))


QUESTIONS = {
    "layering": compare_layering,
    "step": compare_step,
    "training": compare_training,
}

if __name__ == "__main__":
    main()
