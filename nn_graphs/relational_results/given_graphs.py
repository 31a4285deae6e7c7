"""Graphs of one's own to train: of a file or a folder, or drawn by a generator.

Like the published sets, these end with the complete graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np

from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import Count, PositiveInt, in_ranges
from nn_graphs.relational_results.graphs import COMPLETE, TrainedGraph, ws_flex_of_row
from nn_graphs.structure import average_clustering, average_path_length
from nn_graphs.structure.adjacency import AnyGraph, adjacency_matrix, is_directed
from nn_graphs.structure.generators import GraphRecipe

READERS: dict[str, Callable[[str], nx.Graph]] = {
    ".graphml": nx.read_graphml,
    ".gexf": nx.read_gexf,
    ".gml": nx.read_gml,
    ".edgelist": nx.read_edgelist,
    ".adjlist": nx.read_adjlist,
}
"""By ending; what each of these formats says of directions holds."""


@in_ranges
@dataclass(frozen=True)
class GraphFile:
    """The graphs of a file or folder.

    Attributes:
        path: of `graphs.npy` as the sweep writes it (rows of WS-flex graphs), of adjacency matrices
            (`.npy`, `[n, n]` or `[graphs, n, n]`), of a graph in a format of networkx (`READERS`),
            of a folder of such; relative ones also below the data root.
        first: only the first so many; None: all.
    """

    path: str
    first: Count | None = None

    def read(self, root: str | Path) -> list[TrainedGraph]:
        """The graphs in the order of the rows, or of the names of files; the complete one last.

        Raises:
            NNGraphsError: there is no such file, it holds no graphs, or one of several pieces.
        """
        path = next(
            (own for own in (Path(self.path), Path(root) / self.path) if own.exists()), None
        )
        if path is None:
            found = f"neither {self.path} is there nor {Path(root) / self.path}."
            raise self._error(found)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        files = [file for file in files if file.suffix in (".npy", *READERS)]
        if not files:
            raise self._error(f"there is no file of .npy, {', '.join(READERS)}.")
        graphs = [graph for file in files for graph in self._graphs_of(file)]
        numbered = [make(number) for number, make in enumerate(graphs[: self.first])]
        return [*numbered, COMPLETE]

    def _graphs_of(self, file: Path) -> list[Callable[[int], TrainedGraph]]:
        try:
            if file.suffix != ".npy":
                return [_named(file.stem, READERS[file.suffix](str(file)))]
            array = np.load(file, allow_pickle=False)
        except NNGraphsError:
            raise
        except Exception as error:  # each format has its own
            raise self._error(f"{file.name} cannot be read ({error}).") from error
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise self._error(f"{file.name} holds numbers that are NaN or infinite.")
        if array.ndim == 2 and array.shape[1] == 6 and not np.isin(array, (0, 1)).all():
            return [lambda number, row=row: ws_flex_of_row(number, row) for row in array]
        matrices = array[None] if array.ndim == 2 else array
        if matrices.ndim != 3:
            raise self._error(f"{file.name} holds an array {list(array.shape)}.")
        return [_named(f"{file.stem} {row}", matrix) for row, matrix in enumerate(matrices)]

    def _error(self, found: str) -> NNGraphsError:
        return NNGraphsError(
            f"read graphs from {self.path}",
            found=found,
            do="Give rows of WS-flex graphs, adjacency matrices, or files that networkx reads.",
        )


@in_ranges
@dataclass(frozen=True)
class GeneratedGraphs:
    """Graphs of a generator, one for each combination of its options and each seed.

    Attributes:
        generator: one of `nn_graphs.structure.generators.GENERATORS`.
        num_nodes: of each graph.
        options: what the generator wants to know; a list stands for several values.
        seeds: of the random numbers.
        first: only the first so many; None: all.
    """

    generator: str = "watts_strogatz"
    num_nodes: PositiveInt = 16
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    first: Count | None = None

    def read(self, root: str | Path) -> list[TrainedGraph]:
        """The graphs, the last option and the seeds fastest; the complete one last.

        Raises:
            NNGraphsError: the generator is unknown, or there is no such graph.
        """
        values = [v if isinstance(v, Sequence) else [v] for v in self.options.values()]
        combined = [
            (dict(zip(self.options, chosen, strict=True)), seed)
            for *chosen, seed in product(*values, self.seeds)
        ]
        graphs = [
            _of_recipe(number, GraphRecipe(self.generator, self.num_nodes, options, seed))
            for number, (options, seed) in enumerate(combined[: self.first])
        ]
        return [*graphs, COMPLETE]


def _of_recipe(graph_id: int, recipe: GraphRecipe) -> TrainedGraph:
    options = " ".join(f"{name}={value}" for name, value in recipe.options.items())
    name = f"{recipe.generator} n={recipe.num_nodes} {options} seed={recipe.seed}"
    return TrainedGraph(graph_id, name, *_place(recipe.make()), recipe=recipe)


def _named(name: str, graph: AnyGraph) -> Callable[[int], TrainedGraph]:
    """A graph that has its name and waits for its number."""
    has_directions = is_directed(graph)
    adjacency = adjacency_matrix(graph, is_directed=has_directions)
    place = _place(adjacency | adjacency.T)
    return lambda number: TrainedGraph(
        number, name, *place, adjacency=adjacency, is_directed=has_directions
    )


def _place(adjacency: np.ndarray) -> tuple[float, float]:
    """Clustering and path length of an undirected graph."""
    return float(average_clustering(adjacency)), float(average_path_length(adjacency))
