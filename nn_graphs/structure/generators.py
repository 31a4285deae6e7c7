"""Generators of graphs by name, and recipes from which a graph comes back.

WS-flex is the one of the published studies (`ws_flex`); the classic ones are networkx', which draw
with Python's random numbers here: a seed gives the same graph on every machine, as long as networkx
keeps its draws. All graphs are undirected and connected; random ones are drawn up to `NUM_TRIES`
times from one stream until they are.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from random import Random

import networkx as nx

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.adjacency import Adjacency, adjacency_matrix
from nn_graphs.structure.wsflex import NUM_TRIES, ws_flex


def watts_strogatz(num_nodes: int, *, degree: int, p: float, seed: int = 0) -> Adjacency:
    """A ring in which each node is linked to its next `degree` / 2 nodes, rewired (1998)."""
    asked = f"make a Watts-Strogatz graph of {num_nodes} nodes, degree {degree}, p {p:g}"
    _check(2 <= degree < num_nodes, asked, f"degree is not from 2 to {num_nodes - 1}.", "degree")
    _check(
        degree % 2 == 0, asked, "half of the degree goes each way.", "an even degree, or ws_flex"
    )
    _check(0 <= p <= 1, asked, "p is no probability.", "p from 0 to 1")
    return _first_connected(
        lambda generator: nx.watts_strogatz_graph(num_nodes, degree, p, seed=generator), asked, seed
    )


def erdos_renyi(num_nodes: int, *, num_edges: int, seed: int = 0) -> Adjacency:
    """A graph drawn evenly among the connected ones of `num_edges` edges: G(n, m)."""
    asked = f"make an Erdos-Renyi graph of {num_nodes} nodes and {num_edges} edges"
    fewest, most = num_nodes - 1, num_nodes * (num_nodes - 1) // 2
    found = f"connected graphs have {fewest} to {most} edges."
    _check(fewest <= num_edges <= most, asked, found, "a number in between")
    return _first_connected(
        lambda generator: nx.gnm_random_graph(num_nodes, num_edges, seed=generator), asked, seed
    )


def barabasi_albert(num_nodes: int, *, num_links: int, seed: int = 0) -> Adjacency:
    """Nodes come one by one and link to `num_links` others, the likelier the more links (1999)."""
    asked = f"make a Barabasi-Albert graph of {num_nodes} nodes, {num_links} links a node"
    found = f"a node links to 1 to {num_nodes - 1} others."
    _check(1 <= num_links < num_nodes, asked, found, "a number in between")
    return adjacency_matrix(nx.barabasi_albert_graph(num_nodes, num_links, seed=Random(seed)))


def harary(num_nodes: int, *, degree: int) -> Adjacency:
    """The graph of fewest edges in which `degree` nodes must go before it falls apart (1962)."""
    asked = f"make a Harary graph of {num_nodes} nodes, degree {degree}"
    _check(1 <= degree < num_nodes, asked, f"degree is not from 1 to {num_nodes - 1}.", "degree")
    return adjacency_matrix(nx.hkn_harary_graph(degree, num_nodes))


def ring(num_nodes: int) -> Adjacency:
    """Every node is linked to the next, the last one to the first."""
    asked = f"make a ring of {num_nodes} nodes"
    _check(num_nodes >= 3, asked, "a ring has three nodes or more.", "num_nodes from 3")
    return adjacency_matrix(nx.cycle_graph(num_nodes))


def star(num_nodes: int) -> Adjacency:
    """Node 0 is linked to all others."""
    _check(num_nodes >= 2, f"make a star of {num_nodes} nodes", "a star has two nodes or more.")
    return adjacency_matrix(nx.star_graph(num_nodes - 1))


def grid(num_nodes: int, *, num_rows: int | None = None) -> Adjacency:
    """Nodes in a rectangle, row by row, linked to the next in their row and in their column.

    Without `num_rows`, the rectangle nearest to a square that has two rows or more.
    """
    asked = f"make a grid of {num_nodes} nodes"
    if num_rows is None:
        num_rows = next(
            (n for n in range(math.isqrt(max(num_nodes, 1)), 1, -1) if num_nodes % n == 0), 0
        )
        found = "it fills no rectangle of two rows or more."
        _check(num_rows > 0, asked, found, "another num_nodes, or num_rows=1 for a path")
    found = f"{num_rows} rows of the same length don't have that many."
    _check(num_nodes >= 1 and num_rows >= 1, asked, found)
    _check(num_nodes % num_rows == 0, asked, found, f"a multiple of {num_rows}")
    return adjacency_matrix(nx.grid_2d_graph(num_rows, num_nodes // num_rows))


def hypercube(num_nodes: int) -> Adjacency:
    """Nodes are binary numbers, linked where one digit differs."""
    asked = f"make a hypercube of {num_nodes} nodes"
    is_power = num_nodes >= 2 and num_nodes & (num_nodes - 1) == 0
    _check(is_power, asked, "that is no power of 2.", "num_nodes 2, 4, 8, 16 ...")
    return adjacency_matrix(nx.hypercube_graph(num_nodes.bit_length() - 1))


def tree(num_nodes: int, *, seed: int = 0) -> Adjacency:
    """A tree drawn evenly among all trees of numbered nodes, by its Pruefer sequence (1918)."""
    asked = f"make a tree of {num_nodes} nodes"
    _check(num_nodes >= 2, asked, "a tree has two nodes or more.", "num_nodes from 2")
    generator = Random(seed)
    sequence = [generator.randrange(num_nodes) for _ in range(num_nodes - 2)]
    drawn = nx.from_prufer_sequence(sequence)
    return adjacency_matrix(nx.to_numpy_array(drawn, nodelist=range(num_nodes)))


def random_regular(num_nodes: int, *, degree: int, seed: int = 0) -> Adjacency:
    """A connected graph in which all nodes have `degree` neighbours, drawn at random."""
    asked = f"make a random regular graph of {num_nodes} nodes, degree {degree}"
    _check(1 <= degree < num_nodes, asked, f"degree is not from 1 to {num_nodes - 1}.", "degree")
    found = "an odd number of nodes cannot all have an odd degree."
    _check(num_nodes * degree % 2 == 0, asked, found, "an even degree")
    return _first_connected(
        lambda generator: nx.random_regular_graph(degree, num_nodes, seed=generator), asked, seed
    )


def complete(num_nodes: int) -> Adjacency:
    """All nodes are linked: the relational graph of an ordinary dense layer."""
    _check(num_nodes >= 1, f"make a complete graph of {num_nodes} nodes", "it has no nodes.")
    return adjacency_matrix(nx.complete_graph(num_nodes))


GENERATORS: dict[str, Callable[..., Adjacency]] = {
    "ws_flex": ws_flex,
    "watts_strogatz": watts_strogatz,
    "erdos_renyi": erdos_renyi,
    "barabasi_albert": barabasi_albert,
    "harary": harary,
    "ring": ring,
    "star": star,
    "grid": grid,
    "hypercube": hypercube,
    "tree": tree,
    "random_regular": random_regular,
    "complete": complete,
}


@dataclass(frozen=True)
class GraphRecipe:
    """From which a graph comes back, also with another number of nodes; hashable, JSON in parts.

    Example: `GraphRecipe("ws_flex", 64, {"sparsity": 0.2, "p": 0.1}, seed=3).make()`.

    Attributes:
        generator: one of `GENERATORS`.
        num_nodes: of the graph.
        options: what the generator wants to know beside, e.g. `{"degree": 4}`.
        seed: of the random numbers; generators that draw nothing leave it alone.

    Raises:
        NNGraphsError: for an unknown generator, and options that it lacks or doesn't have.
    """

    generator: str
    num_nodes: int
    options: Mapping[str, int | float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self):
        object.__setattr__(self, "options", dict(self.options))
        asked = f"make a graph with the generator {self.generator!r}"
        _check(self.generator in GENERATORS, asked, "it is unknown.", " or ".join(GENERATORS))
        parameters = self._parameters()
        known = {name: value for name, value in parameters.items() if name != "seed"}
        wanted = {name for name, value in known.items() if value.default is value.empty}
        for options, found in [
            (set(self.options) - set(known), "it has no option"),
            (wanted - set(self.options), "it wants the option"),
        ]:
            do = f"the options {', '.join(known)}" if known else "no options"
            _check(not options, asked, f"{found} {', '.join(sorted(options))}.", do)

    def __hash__(self) -> int:
        options = tuple(sorted(self.options.items()))
        return hash((self.generator, self.num_nodes, options, self.seed))

    def make(self) -> Adjacency:
        """The adjacency matrix.

        Raises:
            NNGraphsError: no such graph exists, or none of the tries is connected.
        """
        seed = {"seed": self.seed} if "seed" in self._parameters() else {}
        return GENERATORS[self.generator](self.num_nodes, **self.options, **seed)

    def resized(self, num_nodes: int) -> "GraphRecipe":
        """The recipe of a graph of another size, with the same options and seed.

        That is what the published networks take where a layer has fewer channels than the graph
        has nodes; it is another graph, not a part of this one.
        """
        return replace(self, num_nodes=num_nodes)

    def _parameters(self) -> dict[str, inspect.Parameter]:
        parameters = dict(inspect.signature(GENERATORS[self.generator]).parameters)
        del parameters["num_nodes"]
        return parameters


def _first_connected(draw: Callable[[Random], nx.Graph], asked: str, seed: int) -> Adjacency:
    generator = Random(seed)
    for _ in range(NUM_TRIES):
        graph = draw(generator)
        if nx.is_connected(graph):
            return adjacency_matrix(nx.to_numpy_array(graph, nodelist=range(len(graph))))
    raise NNGraphsError(
        asked,
        found=f"none of {NUM_TRIES} tries of seed {seed} is connected.",
        do="Ask for more edges, or choose another seed.",
    )


def _check(is_possible: bool, asked: str, found: str, choose: str = "a larger num_nodes") -> None:
    if not is_possible:
        raise NNGraphsError(asked, found=found, do=f"Choose {choose}.")
