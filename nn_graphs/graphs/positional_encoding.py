"""What encodings of positions share: graphs of one size together, parts side by side, kept ones."""

from abc import ABC, abstractmethod
from functools import partial
from itertools import chain
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.fingerprint import fingerprint
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.undirected_graphs import GraphEdges, UndirectedGraphs
from nn_graphs.threads import side_by_side

CORE_VALUES = 1 << 19  # of adjacency matrices that a core works on together
DEVICE_VALUES = 1 << 26  # the same on an accelerator
MAX_STRUCTURES = 4096  # of graphs of mixed batches, whose encodings are kept


class PositionalEncoding(ABC):
    """Numbers per neuron. Abstract: how they follow from a graph.

    Unweighted encodings are made once for each template, or for each structure in mixed batches,
    and kept. Others are made anew for every graph. Everything is computed in float64.

    Args:
        num_features: how many numbers.
        is_weighted: read weights, rather than which neurons are joined.
        dense_below: graphs of fewer neurons are computed as matrices, many at once.

    Raises:
        NNGraphsError: fewer than one number.
    """

    def __init__(self, num_features: int, *, is_weighted: bool = False, dense_below: int = 512):
        if num_features < 1:
            raise NNGraphsError(
                f"encode positions by {num_features} numbers",
                found="there has to be one at least.",
                do="Choose num_features from 1 on.",
            )
        self.num_features, self.is_weighted = num_features, is_weighted
        self.dense_below = dense_below
        self._forget()

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value}" for name, value in self.__getstate__().items())
        return f"{type(self).__name__}({settings})"

    @torch.no_grad()
    def __call__(
        self, graphs: NeuralGraph | NeuralGraphStack, *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "*B num_nodes num_features"]:
        """The encodings of a stack, of a graph or of a mixed batch; no gradient passes.

        Args:
            graphs: of any architectures.
            generator: of random signs, a new draw for each graph and number, where the encoding
                has signs; None: signs by a rule.

        Raises:
            NNGraphsError: weights are read, and some are not finite.
        """
        is_stack = isinstance(graphs, NeuralGraphStack)
        found = self._encoded(graphs).to(graphs.node_features)
        if is_stack:
            found = found.expand(len(graphs), -1, -1)
        if generator is None:
            return found
        signs = self._signs(graphs.num_graphs, generator).to(found)
        return found * (signs.unsqueeze(1) if is_stack else signs[graphs.topology.graph_id])

    @abstractmethod
    def _dense(
        self, graphs: UndirectedGraphs
    ) -> Float[Tensor, "num_graphs num_nodes num_features"]:
        """The encodings of small graphs."""

    @abstractmethod
    def _sparse(self, graph: UndirectedGraphs) -> Float[Tensor, "1 num_nodes num_features"]:
        """The encoding of one large graph."""

    def _signs(
        self, num_graphs: int, generator: torch.Generator
    ) -> Float[Tensor, "num_graphs num_features"]:
        """Of encodings without signs: ones."""
        return torch.ones(num_graphs, self.num_features)

    def _forget(self) -> None:
        self._of_template: WeakKeyDictionary = WeakKeyDictionary()
        self._of_structure: dict[str, Tensor] = {}

    def __getstate__(self) -> dict:
        kept = {"_of_template", "_of_structure"}
        return {name: value for name, value in vars(self).items() if name not in kept}

    def __setstate__(self, state: dict) -> None:
        vars(self).update(state)
        self._forget()

    def _encoded(self, graphs: NeuralGraph | NeuralGraphStack) -> Tensor:
        """`[B or 1, num_nodes, num_features]` of a stack, `[num_all_nodes, num_features]` else."""
        is_stack = isinstance(graphs, NeuralGraphStack)
        if is_stack and not self.is_weighted:
            return self._kept_of_template(graphs)
        edges = GraphEdges(graphs, is_weighted=self.is_weighted)
        if not self.is_weighted:
            return self._kept_of_structures(edges)
        if is_stack:
            return torch.cat(self._in_parts(edges, _parts(edges, [*range(len(graphs))])))
        parts = [part for alike in _alike(edges) for part in _parts(edges, alike)]
        rows = _by_number(parts, self._in_parts(edges, parts))
        return torch.cat([rows[number] for number in range(len(rows))])

    def _kept_of_template(self, graphs: NeuralGraphStack) -> Tensor:
        template = graphs.template
        if template not in self._of_template:
            self._of_template[template] = self._part(GraphEdges(graphs, is_weighted=False), [0])
        return self._of_template[template]

    def _kept_of_structures(self, edges: GraphEdges) -> Tensor:
        """Of a mixed batch, every structure once, if it is not known."""
        keys = [fingerprint(edges.structure_of(number)) for number in range(len(edges.num_nodes))]
        known = {key: self._of_structure[key] for key in keys if key in self._of_structure}
        new = {key: number for number, key in enumerate(keys) if key not in known}
        found = self._in_parts(edges, [[number] for number in new.values()])
        made = {key: encoding[0] for key, encoding in zip(new, found, strict=True)}
        if len(self._of_structure) + len(made) > MAX_STRUCTURES:
            self._of_structure = {}
        self._of_structure |= made
        known |= made
        return torch.cat([known[key].to(edges.device) for key in keys])

    def _in_parts(self, edges: GraphEdges, parts: list[list[int]]) -> list[Tensor]:
        """The encodings `[graphs, num_nodes, num_features]` of some parts, side by side."""
        num_workers = None if edges.device.type == "cpu" else 1
        return [*side_by_side(partial(self._part, edges), parts, num_workers=num_workers)]

    def _part(
        self, edges: GraphEdges, numbers: list[int]
    ) -> Float[Tensor, "graphs num_nodes num_features"]:
        if edges.num_nodes[numbers[0]] < max(self.dense_below, self.num_features + 3):
            return self._dense(edges.chosen(numbers))
        return torch.cat([self._sparse(edges.chosen([number])) for number in numbers])


def _alike(edges: GraphEdges) -> list[list[int]]:
    """The numbers of the graphs of a mixed batch in which the same neurons are joined."""
    found: dict[str, list[int]] = {}
    for number in range(len(edges.num_nodes)):
        found.setdefault(fingerprint(edges.structure_of(number)), []).append(number)
    return [*found.values()]


def _parts(edges: GraphEdges, alike: list[int]) -> list[list[int]]:
    """Graphs of one structure in parts that are worked on together."""
    budget = CORE_VALUES if edges.device.type == "cpu" else DEVICE_VALUES
    count = max(1, budget // max(1, edges.num_nodes[alike[0]] ** 2)) if alike else 1
    return [alike[first : first + count] for first in range(0, len(alike), count)]


def _by_number(parts: list[list[int]], found: list[Tensor]) -> dict[int, Tensor]:
    """The encoding `[num_nodes, num_features]` of each graph."""
    pairs = zip(chain.from_iterable(parts), chain.from_iterable(found), strict=True)
    return dict(pairs)
