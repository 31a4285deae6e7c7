"""How much faster do WS-flex graphs come back with C and L than by networkx, one by one?

    python bench_relational_graphs.py

All 3,942 graphs of 64 nodes and 2,698 of 16 of the published sweeps, where their arrays lie under
the data root; else as many of the sweeps' candidates. The plain side builds a networkx graph edge
by edge, with the same draws, and calls `average_clustering` and `average_shortest_path_length`.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import networkx as nx
import numpy as np
from support.benchmarks import RESULTS, record, seconds

from nn_graphs.datasets.dataset_registry import data_root
from nn_graphs.structure import PUBLISHED_SWEEPS, average_clustering, average_path_length
from nn_graphs.structure.wsflex import NUM_TRIES, num_edges_of, ws_flex_graphs

NUM_GRAPHS = {64: 3942, 16: 2698}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--num-graphs", type=int, help="of each size, instead of all")
    parser.add_argument("--plain-every", type=int, default=10, help="networkx gets one in so many")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    tables, source = published_tables(options.num_graphs)
    plain_times, our_times, errors = zip(
        *(compare(table, options.plain_every) for table in tables), strict=True
    )
    each = ", ".join(
        f"{len(table):,} of {table[0, 0]:.0f} nodes {plain / mine:.3g}"
        for table, plain, mine in zip(tables, plain_times, our_times, strict=True)
    )
    record(
        "WS-flex graphs with C and L",
        setting=f"{' + '.join(f'{len(table):,}' for table in tables)} {source}, 64 and 16 nodes",
        unit="s",
        plain=sum(plain_times),
        ours=sum(our_times),
        remark=f"One process. Ratios: {each}. networkx made one graph in {options.plain_every}, "
        f"its time multiplied; values equal to {max(errors):.0e}.",
        results=options.results,
    )


def published_tables(num_graphs: int | None) -> tuple[list[np.ndarray], str]:
    """Rows (num_nodes, sparsity, p, seed) of each size, and where they are from."""
    folder = data_root() / "graph2nn"
    paths = [folder / f"graphs_n{size}_{num_all}.npy" for size, num_all in NUM_GRAPHS.items()]
    if all(path.is_file() for path in paths):
        return [np.load(path)[:num_graphs, :4] for path in paths], "published graphs"
    return [
        PUBLISHED_SWEEPS[size].candidates(0, num_graphs or num_all)
        for size, num_all in NUM_GRAPHS.items()
    ], "candidates of the published sweeps"


def compare(table: np.ndarray, plain_every: int) -> tuple[float, float, float]:
    """Seconds of networkx for all graphs, extrapolated, ours, and the largest difference."""
    sample = table[::plain_every]
    start = time.perf_counter()
    plain = np.array([plain_measures(*row) for row in sample.tolist()])
    plain_seconds = (time.perf_counter() - start) * len(table) / len(sample)
    error = np.abs(ours(table)[::plain_every] - plain).max()
    assert error < 1e-12, error
    return plain_seconds, seconds(lambda: ours(table), repeats=3), error


def ours(table: np.ndarray) -> np.ndarray:
    sparsity, p, seed = table[:, 1], table[:, 2], table[:, 3].astype(int)
    graphs = ws_flex_graphs(int(table[0, 0]), sparsity, p, seed)
    return np.stack([average_clustering(graphs), average_path_length(graphs)], axis=1)


def plain_measures(num_nodes: float, sparsity: float, p: float, seed: float) -> tuple[float, float]:
    graph = plain_ws_flex(int(num_nodes), sparsity, p, random.Random(int(seed)))
    return nx.average_clustering(graph), nx.average_shortest_path_length(graph)


def plain_ws_flex(num_nodes: int, sparsity: float, p: float, generator: random.Random) -> nx.Graph:
    """WS-flex with the operations of networkx, as the Watts-Strogatz generator there has them."""
    nodes = list(range(num_nodes))
    each, rest = divmod(num_edges_of(num_nodes, sparsity), num_nodes)
    links = [
        (node, (node + offset) % num_nodes)
        for node in nodes
        for offset in range(1, each + (node < rest) + 1)
    ]
    for _ in range(NUM_TRIES):
        graph = nx.Graph(links)
        for node, old in links:
            if generator.random() >= p:
                continue
            new = generator.choice(nodes)
            while new == node or graph.has_edge(node, new):
                new = generator.choice(nodes)
                if graph.degree(node) >= num_nodes - 1:
                    break
            else:
                graph.remove_edge(node, old)
                graph.add_edge(node, new)
        if nx.is_connected(graph):
            return graph
    raise ValueError("no try is connected")


if __name__ == "__main__":
    main()
