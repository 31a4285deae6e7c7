"""Search for structures whose networks are good, by evolution and by chance, at equal cost.

A structure is a layered graph of a fixed number of nodes whose network may have so many weights,
those from inputs and to outputs included: without that bound the best structure is the widest.
Both ways begin with structures drawn by chance; evolution goes on with changed copies of good ones,
which tournaments choose, in generations that are trained as one stack. Half of a population are the
best that there were before, the others the best of the last generation.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.structure.layered_graph import LayeredGraph

NUM_TRIES = 1000  # to draw a structure of few enough weights
DENSITIES = (0.05, 0.5)  # of structures drawn by chance

METHODS = ("evolution", "random")
Evaluate = Callable[[Sequence[LayeredGraph]], Float[np.ndarray, " N"]]
"""Fitness of structures; more is better."""


@dataclass(frozen=True)
class SearchSpace:
    """Structures of a number of nodes and of at most so many weights.

    Attributes:
        num_nodes: of each.
        max_weights: of its network.
        in_features, out_features: of its network, each joined to the ends of the structure.

    Raises:
        NNGraphsError: no structure of so many nodes has so few weights.
    """

    num_nodes: int
    max_weights: int
    in_features: int
    out_features: int

    def __post_init__(self):
        fewest = self.in_features + self.num_nodes - 1 + self.out_features  # of a path
        if self.num_nodes < 2 or self.max_weights < fewest:
            raise NNGraphsError(
                f"search structures of {self.num_nodes} nodes and up to {self.max_weights} weights",
                found=f"with {self.in_features} inputs and {self.out_features} outputs, a path of "
                f"the nodes has {fewest}.",
                do="Allow more weights, and two nodes at least.",
            )

    def num_weights(self, structure: LayeredGraph) -> int:
        """Of its network, biases not counted."""
        first, last = (structure.in_degrees == 0).sum(), (structure.out_degrees == 0).sum()
        return int(structure.num_edges + first * self.in_features + last * self.out_features)

    def draw(self, generator: np.random.Generator) -> LayeredGraph:
        """A structure by chance: of a density that is drawn, edges of its own are.

        Raises:
            NNGraphsError: none of many tries has few enough weights.
        """
        for _ in range(NUM_TRIES):
            is_pair = np.triu(np.ones((self.num_nodes, self.num_nodes), bool), 1)
            density = generator.uniform(*DENSITIES)
            structure = self._of(is_pair & (generator.random(is_pair.shape) < density))
            if structure is not None:
                return structure
        raise NNGraphsError(
            f"draw a structure of {self.num_nodes} nodes",
            found=f"none of {NUM_TRIES} has {self.max_weights} weights or fewer.",
            do="Allow more weights, or take fewer nodes.",
        )

    def change(self, structure: LayeredGraph, generator: np.random.Generator) -> LayeredGraph:
        """A copy in which some edges came, went or moved, or two nodes have changed places."""
        before = structure.adjacency().toarray()
        before = before[np.ix_(*[np.argsort(structure.layers, kind="stable")] * 2)]
        for _ in range(NUM_TRIES):
            adjacency = before.copy()
            for _ in range(1 + generator.poisson(1.0)):
                CHANGES[int(generator.integers(len(CHANGES)))](adjacency, generator)
            changed = None if (adjacency == before).all() else self._of(adjacency)
            if changed is not None:
                return changed
        return structure

    def _of(self, adjacency: Bool[np.ndarray, "n n"]) -> LayeredGraph | None:
        """The structure of an adjacency, where it has few enough weights."""
        structure = LayeredGraph.from_adjacency(adjacency)
        return structure if self.num_weights(structure) <= self.max_weights else None


@dataclass(frozen=True, eq=False)
class Candidate:
    """A structure that was evaluated; `fitness` is what evaluation gave."""

    structure: LayeredGraph
    fitness: float


def search_structures(
    method: str,
    space: SearchSpace,
    evaluate: Evaluate,
    *,
    num_evaluations: int,
    population: int = 40,
    tournament: int = 8,
    seed: int = 0,
) -> Iterator[list[Candidate]]:
    """Generations of evaluated structures; both methods evaluate equally many.

    Args:
        method: one of `METHODS`.
        space: where structures are from.
        evaluate: called once a generation.
        num_evaluations: in all.
        population: structures of a generation, and those that parents are chosen from.
        tournament: of so many structures by chance, the best one is a parent.
        seed: of all draws; both methods begin with the same structures.

    Raises:
        NNGraphsError: the method is unknown, or numbers are too small.
    """
    check_known(method, METHODS, asked=f"search structures by {method!r}")
    check_search(num_evaluations, population, tournament)
    generator = np.random.default_rng(seed)
    alive: list[Candidate] = []
    num_done = 0
    while num_done < num_evaluations:
        number = min(population, num_evaluations - num_done)
        if method == "random" or not alive:
            structures = [space.draw(generator) for _ in range(number)]
        else:
            parents = (_winner(alive, tournament, generator) for _ in range(number))
            structures = [space.change(parent.structure, generator) for parent in parents]
        values = evaluate(structures)
        new = [Candidate(*pair) for pair in zip(structures, values.tolist(), strict=True)]
        alive = survivors(alive, new, population)
        num_done += number
        yield new


def survivors(
    alive: Sequence[Candidate], new: Sequence[Candidate], population: int
) -> list[Candidate]:
    """The best half of those that were there, and the best of the new ones, for the next one."""
    kept = sorted(alive, key=lambda one: one.fitness, reverse=True)[: population // 2]
    others = sorted(new, key=lambda one: one.fitness, reverse=True)
    return [*kept, *others][:population]


def best_so_far(generations: Sequence[Sequence[Candidate]]) -> Float[np.ndarray, " evaluations"]:
    """The best fitness up to every evaluation."""
    values = [one.fitness for generation in generations for one in generation]
    return np.maximum.accumulate(np.array(values, float))


def check_search(num_evaluations: int, population: int, tournament: int) -> None:
    """Raises `NNGraphsError` unless numbers make a search."""
    if not 1 <= tournament <= population or not 2 <= population <= num_evaluations:
        raise NNGraphsError(
            f"search with {num_evaluations} evaluations",
            found=f"the population is {population}, a tournament {tournament}.",
            do="Give a population of two at least, no fewer evaluations, and tournaments within.",
        )


def _winner(
    alive: Sequence[Candidate], tournament: int, generator: np.random.Generator
) -> Candidate:
    size = min(tournament, len(alive))
    places = generator.choice(len(alive), size, replace=False)
    return max((alive[place] for place in places.tolist()), key=lambda one: one.fitness)


def _add(adjacency: Bool[np.ndarray, "n n"], generator: np.random.Generator) -> None:
    _set_one(adjacency, ~adjacency & np.triu(np.ones(adjacency.shape, bool), 1), True, generator)


def _remove(adjacency: Bool[np.ndarray, "n n"], generator: np.random.Generator) -> None:
    _set_one(adjacency, adjacency, False, generator)


def _move(adjacency: Bool[np.ndarray, "n n"], generator: np.random.Generator) -> None:
    _remove(adjacency, generator)
    _add(adjacency, generator)


def _swap(adjacency: Bool[np.ndarray, "n n"], generator: np.random.Generator) -> None:
    """Two nodes exchange their neighbours; edges are turned round where they would lead back."""
    first, second = generator.choice(len(adjacency), 2, replace=False)
    order = np.arange(len(adjacency))
    order[[first, second]] = order[[second, first]]
    moved = adjacency[np.ix_(order, order)]
    adjacency[:] = np.triu(moved | moved.T, 1)


def _set_one(
    adjacency: Bool[np.ndarray, "n n"],
    is_possible: Bool[np.ndarray, "n n"],
    value: bool,
    generator: np.random.Generator,
) -> None:
    places = np.flatnonzero(is_possible)
    if len(places):
        adjacency.flat[generator.choice(places)] = value


CHANGES = (_add, _remove, _move, _swap)
