"""Layered graphs drawn from families of random graphs, of many sizes and options.

Stier & Granitzer (Procedia Computer Science 159, 2019) draw Watts-Strogatz and Barabasi-Albert
graphs and read each undirected edge as one from the lower number to the higher. Here there are more
families, options are drawn evenly from ranges in which graphs are connected, and a structure comes
back from its recipe.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure.generators import GraphRecipe
from nn_graphs.structure.layered_graph import LayeredGraph
from nn_graphs.structure.orientations import RULES

MIN_NODES = 12  # fewer leave the ranges of the options empty

Options = dict[str, int | float]
Draw = Callable[[np.random.Generator, int], Options]


def _erdos_renyi(generator: np.random.Generator, num_nodes: int) -> Options:
    """From where one draw in three is connected: mean degrees of log n and more."""
    fewest = int(np.ceil(num_nodes * np.log(num_nodes) / 2))
    most = min(num_nodes * (num_nodes - 1) // 2, 2 * fewest)
    return {"num_edges": int(generator.integers(fewest, most + 1))}


FAMILIES: dict[str, Draw] = {
    "watts_strogatz": lambda generator, _: {
        "degree": 2 * int(generator.integers(2, 5)),
        "p": float(generator.random()),
    },
    "barabasi_albert": lambda generator, _: {"num_links": int(generator.integers(2, 6))},
    "erdos_renyi": _erdos_renyi,
    "ws_flex": lambda generator, num_nodes: {
        "sparsity": float(generator.uniform(4, 9)) / num_nodes,
        "p": float(generator.random()),
    },
    "random_regular": lambda generator, _: {"degree": 2 * int(generator.integers(2, 5))},
    "tree": lambda generator, _: {},
}
"""The options of a graph of so many nodes, by the generators of `nn_graphs.structure`."""


@dataclass(frozen=True)
class SampledStructure:
    """A layered graph by its recipe; hashable.

    Attributes:
        recipe: of the undirected graph.
        order: by which its edges are directed, see `acyclic_orientation`.
    """

    recipe: GraphRecipe
    order: str = "numbers"

    @property
    def family(self) -> str:
        return self.recipe.generator

    @property
    def name(self) -> str:
        """All that makes the structure, in one line."""
        options = " ".join(f"{name}={value:.6g}" for name, value in self.recipe.options.items())
        parts = self.family, f"n={self.recipe.num_nodes}", options, f"seed={self.recipe.seed}"
        return " ".join(part for part in (*parts, self.order) if part)

    def make(self) -> LayeredGraph:
        """The structure.

        Raises:
            NNGraphsError: no draw of the recipe is connected.
        """
        return LayeredGraph.from_adjacency(self.recipe.make(), is_directed=False, order=self.order)


def sample_structures(
    number: int,
    *,
    families: Sequence[str] = tuple(FAMILIES),
    num_nodes: tuple[int, int] = (16, 48),
    orders: Sequence[str] = ("numbers",),
    seed: int = 0,
) -> list[SampledStructure]:
    """Structures of several families in turn; the first of them do not depend on `number`.

    Args:
        number: of structures.
        families: names out of `FAMILIES`.
        num_nodes: the fewest and the most nodes; numbers in between are drawn evenly.
        orders: by which edges are directed, drawn evenly.
        seed: of all draws.

    Raises:
        NNGraphsError: a family or an order is unknown, there are none, or nodes are too few.
    """
    asked = f"sample {number} structures of {num_nodes[0]} to {num_nodes[1]} nodes"
    for names, known in ((families, FAMILIES), (orders, RULES)):
        for name in names:
            check_known(name, known, asked=asked)
    if number < 1 or not families or not orders or not MIN_NODES <= num_nodes[0] <= num_nodes[1]:
        raise NNGraphsError(
            asked,
            found=f"there are {len(families)} families and {len(orders)} orders.",
            do=f"Give one of each at least, one structure, and {MIN_NODES} nodes or more.",
        )
    return [
        _sample(np.random.default_rng((seed, place)), families[place % len(families)], num_nodes,
                orders)
        for place in range(number)
    ]  # fmt: skip


def _sample(
    generator: np.random.Generator, family: str, num_nodes: tuple[int, int], orders: Sequence[str]
) -> SampledStructure:
    count = int(generator.integers(num_nodes[0], num_nodes[1] + 1))
    options = FAMILIES[family](generator, count)
    recipe = GraphRecipe(family, count, options, int(generator.integers(2**31)))
    return SampledStructure(recipe, orders[int(generator.integers(len(orders)))])
