"""Batches of torch-geometric, made and taken apart without a look at single graphs.

And fields of graphs that are computed when they are first asked for: of a large network the ids of
its edges take nine times the memory of its weights, and not every use of its graph needs them.

What `Batch.from_data_list` remembers of a batch, for `to_data_list`, has no public name. All code
that touches it is here, and is tested against these two, key by key. `setup.py` names the versions
that have been tried.
"""

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.graphs.graph_structure import EDGE_FIELDS
from nn_graphs.graphs.neural_graph import NeuralGraph

OF_EDGES = (*EDGE_FIELDS, "edge_attr", "is_value")
OF_GRAPHS = ("template_id",)  # one entry a graph


def batch_of_fields(
    fields: dict[str, Tensor],
    *,
    num_nodes: Int[Tensor, "num_graphs"],
    num_edges: Int[Tensor, "num_graphs"],
    num_unshown: Int[Tensor, "num_graphs"] | None = None,
) -> NeuralGraph:
    """What `Batch.from_data_list` would make of graphs, from their fields side by side.

    Args:
        fields: the fields of a `NeuralGraph`, of all graphs; `edge_index` counts the neurons of all
            of them; `template_id`, where it is given, has one entry a graph.
        num_nodes: neurons of each graph, on the CPU.
        num_edges: edges of each graph, on the CPU.
        num_unshown: parameters that each graph carries and does not show, on the CPU; None: none.
    """
    node_ends, edge_ends = _ends(num_nodes), _ends(num_edges)
    numbers = torch.arange(len(num_nodes))
    batch = Batch(_base_cls=NeuralGraph, **fields)
    batch.num_nodes = int(node_ends[-1])
    batch.batch = numbers.repeat_interleave(num_nodes).to(fields["x"].device)
    batch.ptr = node_ends.to(fields["x"].device)
    batch._num_graphs = len(num_nodes)
    ends = dict.fromkeys(fields, node_ends) | dict.fromkeys(OF_EDGES, edge_ends)
    ends |= dict.fromkeys(OF_GRAPHS, torch.arange(len(num_nodes) + 1))
    ends["unshown"] = _ends(torch.zeros_like(num_nodes) if num_unshown is None else num_unshown)
    batch._slice_dict = {name: ends[name] for name in fields}
    none = torch.zeros_like(num_nodes)
    batch._inc_dict = dict.fromkeys(fields, none) | {"edge_index": node_ends[:-1]}
    batch._num_nodes = num_nodes.tolist()
    return batch


def run_of_graphs(batch: NeuralGraph, start: int, stop: int) -> NeuralGraph:
    """The graphs `start ... stop - 1` of a batch, as a batch of their own; no copy.

    Equal to `Batch.from_data_list(batch.to_data_list()[start:stop])`.
    """
    part = Batch(_base_cls=NeuralGraph)
    part._slice_dict, part._inc_dict = {}, {}
    for name, ends in batch._slice_dict.items():
        first, last = ends[start].item(), ends[stop].item()
        shifts = batch._inc_dict[name][start:stop]
        values = batch[name]
        values = values.narrow(batch.__cat_dim__(name, values), first, last - first)
        shift = shifts[0].item()
        part[name] = values - shift if shift else values
        part._slice_dict[name] = ends[start : stop + 1] - first
        part._inc_dict[name] = shifts - shift
    first, last = (batch._slice_dict["x"][end].item() for end in (start, stop))
    part.num_nodes = last - first
    part.batch = batch.batch[first:last] - start
    part.ptr = batch.ptr[start : stop + 1] - first
    part._num_graphs, part._num_nodes = stop - start, batch._num_nodes[start:stop]
    return part


def with_later_fields(
    graph: NeuralGraph, fields: Mapping[str, Callable[[], Tensor]]
) -> NeuralGraph:
    """The graph with more fields, each of which is computed when it is first asked for."""
    store = graph._store
    store._mapping = _Fields(store._mapping | {name: _Later(make) for name, make in fields.items()})
    return graph


@dataclass(frozen=True)
class _Later:
    """A field that nobody has asked for."""

    make: Callable[[], Tensor]

    def __deepcopy__(self, memo: dict) -> "_Later":
        return _Later(lambda: self.make().clone())


class _Fields(dict):
    """Fields by name; what is asked for is computed and kept."""

    def __getitem__(self, name: str) -> Any:
        value = super().__getitem__(name)
        if isinstance(value, _Later):
            value = self[name] = value.make()
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())  # with it, dict(...) and ** ask for values one by one

    def get(self, name: str, default: Any = None) -> Any:
        try:
            return self[name]
        except KeyError:
            return default

    def values(self) -> list[Any]:
        return [self[name] for name in self.keys()]

    def items(self) -> list[tuple[str, Any]]:
        return [(name, self[name]) for name in self.keys()]

    def __copy__(self) -> "_Fields":
        """What is not computed stays so."""
        return _Fields(super().items())

    def __deepcopy__(self, memo: dict) -> "_Fields":
        return _Fields((name, deepcopy(value, memo)) for name, value in super().items())

    def __reduce__(self) -> tuple:
        return dict, (self.items(),)


def graph_sizes(batch: NeuralGraph) -> tuple[Int[Tensor, "num_graphs"], Int[Tensor, "num_graphs"]]:
    """How many neurons and how many edges each graph of a batch has."""
    return batch._slice_dict["x"].diff(), batch._slice_dict["edge_index"].diff()


def _ends(counts: Int[Tensor, "num_graphs"]) -> Int[Tensor, "num_graphs_and_one"]:
    """Where the rows of each graph begin, and where the last one's end."""
    return torch.cat([counts.new_zeros(1), counts.cumsum(0)])
