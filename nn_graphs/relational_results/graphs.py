"""Which relational graphs are trained: the published selections and connectomes, as a table.

Every set ends with the complete graph, which is the dense baseline.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.networks.relational.graph import RelationalGraph
from nn_graphs.ranges import Count, PositiveInt, in_ranges
from nn_graphs.relational_results.published import TASKS
from nn_graphs.relational_results.table import BASELINE
from nn_graphs.structure import (
    average_clustering,
    average_path_length,
    read_connectome,
    small_selection,
)
from nn_graphs.structure.connectomes import PUBLISHED
from nn_graphs.structure.generators import GraphRecipe

DIVISIONS = ("all", "best", "bio")


@dataclass(frozen=True, eq=False)
class TrainedGraph:
    """A graph to train networks of; picklable.

    Attributes:
        graph_id: row in its selection; `BASELINE` for the complete graph.
        name: what it is called.
        clustering, path_length: of the undirected graph.
        recipe: from which it comes back, of a WS-flex graph.
        adjacency: of a connectome, or of a graph of one's own.
        is_directed: whether `adjacency` is, as connectomes are.
    """

    graph_id: int
    name: str
    clustering: float
    path_length: float
    recipe: GraphRecipe | None = None
    adjacency: Bool[np.ndarray, "n n"] | None = None
    is_directed: bool = True

    def make(self) -> RelationalGraph | None:
        """The relational graph; None stands for the complete one, the dense baseline."""
        if self.recipe is not None:
            return RelationalGraph.from_recipe(self.recipe)
        if self.adjacency is not None:
            return RelationalGraph(self.adjacency, is_directed=self.is_directed)
        return None


COMPLETE = TrainedGraph(BASELINE, "complete", 1.0, 1.0)


@in_ranges
@dataclass(frozen=True)
class GraphSet:
    """The graphs of a run.

    Attributes:
        num_nodes: of the published selection: 16 (48 graphs) or 64 (52).
        division: "all" of it; "best", the one that was published as the best of `best_of`; or
            "bio", the connectomes of the study, directed.
        best_of: a published task, e.g. "resnet34_imagenet".
        first: only the first so many; None: all.
    """

    num_nodes: PositiveInt = 16
    division: str = "all"
    best_of: str | None = None
    first: Count | None = None

    def read(self, root: str | Path) -> list[TrainedGraph]:
        """The graphs, the complete one last; `root` is a data root, which only "bio" reads.

        Raises:
            NNGraphsError: an unknown division or task, a best graph that is not in the selection,
                or a connectome that is not there.
        """
        check_known(self.division, DIVISIONS, asked=f"train the graphs {self.division!r}")
        if self.division == "bio":
            return [
                *(_connectome(i, name, Path(root)) for i, name in enumerate(PUBLISHED)),
                COMPLETE,
            ]
        graphs = [ws_flex_of_row(i, row) for i, row in enumerate(small_selection(self.num_nodes))]
        if self.division == "best":
            return [graphs[self._best(len(graphs))], COMPLETE]
        return [*graphs[: self.first], COMPLETE]

    def _best(self, num_graphs: int) -> int:
        """The row of the best graph among those that a task of this selection was trained on."""
        selection = f"n{self.num_nodes}_{num_graphs}"
        tasks = {name: task.best for name, task in TASKS.items() if task.graphs == selection}
        if self.best_of not in tasks:
            raise NNGraphsError(
                f"take the best of {num_graphs} graphs for {self.best_of!r}",
                found="no published task of that name was trained on them.",
                do=f"Give best_of as one of {', '.join(tasks)}.",
            )
        return tasks[self.best_of]


def ws_flex_of_row(graph_id: int, row: np.ndarray) -> TrainedGraph:
    """A graph of a `GraphTable`, as the published selections and the sweep write them."""
    num_nodes, sparsity, p, seed, clustering, path_length = row.tolist()
    options = {"sparsity": sparsity, "p": p}
    recipe = GraphRecipe("ws_flex", int(num_nodes), options, int(seed))
    name = f"ws_flex n={num_nodes:.0f} sparsity={sparsity:.6f} p={p:.6f} seed={seed:.0f}"
    return TrainedGraph(graph_id, name, clustering, path_length, recipe=recipe)


def _connectome(graph_id: int, name: str, root: Path) -> TrainedGraph:
    connectome = read_connectome(name, root)
    undirected = connectome.symmetrised.adjacency
    clustering, path_length = average_clustering(undirected), average_path_length(undirected)
    return TrainedGraph(
        graph_id, name, float(clustering), float(path_length), adjacency=connectome.adjacency
    )
