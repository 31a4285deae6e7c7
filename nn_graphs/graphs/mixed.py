"""Batches of neural graphs of many architectures, gathered from tables of all of them.

Structures of all templates lie side by side, and for every neuron and edge it is known which entry
of a network's flat parameters it shows. A batch is then a few gathers, however many architectures
are in it, and no graph is made by itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.kernels import common_kernel_size, is_inside, padded_kernels
from nn_graphs.graphs.neural_graph import STRUCTURE_FIELDS, NeuralGraph
from nn_graphs.graphs.template import GraphTemplate

EDGE_FIELDS = ("edge_index", "edge_kind_id", "position_id")
NODE_FIELDS = tuple(name for name in STRUCTURE_FIELDS if name not in EDGE_FIELDS)


@dataclass(frozen=True)
class _Rows:
    """Runs of rows of a table, one for each of its owners: templates, or graphs of a batch."""

    start: Int[Tensor, "owners"]
    count: Int[Tensor, "owners"]

    @classmethod
    def of(cls, counts: Sequence[int] | Int[Tensor, "owners"]) -> "_Rows":
        count = torch.as_tensor(counts, dtype=torch.long)
        return cls(count.cumsum(0) - count, count)

    def chosen(self, owners: Int[Tensor, "B"]) -> tuple[Tensor, "_Rows", Tensor]:
        """All rows of some owners, the runs that these make, and the owner of each, from 0."""
        runs = _Rows.of(self.count[owners])
        numbers = torch.arange(len(owners)).repeat_interleave(runs.count)
        rows = torch.arange(len(numbers)) + (self.start[owners] - runs.start)[numbers]
        return rows, runs, numbers


class MixedTemplates:
    """The templates of many architectures, for batches of their graphs.

    Kernels are in the middle of the largest one of all (`kernel_size`).

    Args:
        templates: the architectures.
    """

    def __init__(self, templates: Sequence[GraphTemplate]):
        self.kernel_size = common_kernel_size([template.kernel_size for template in templates])
        structures = [template.structure() for template in templates]
        self._nodes = _Rows.of([template.num_nodes for template in templates])
        self._edges = _Rows.of([template.num_edges for template in templates])
        self._num_params = torch.tensor([template.num_params for template in templates])
        self._table = {
            name: torch.cat([vars(structure)[name] for structure in structures], dim=-1)
            for name in STRUCTURE_FIELDS
        }
        places = [_places(template) for template in templates]
        self._bias_place, self._first_place, constants = map(torch.cat, zip(*places, strict=True))
        self._constants, self._constant_id = constants.unique(return_inverse=True)
        kernels = [block.kernel for template in templates for block in template.blocks]
        self._kernels = known = list(dict.fromkeys(kernels))
        self._is_value = torch.stack([is_inside(kernel, self.kernel_size) for kernel in known])
        counts = [block.num_edges for template in templates for block in template.blocks]
        numbers = torch.tensor([known.index(kernel) for kernel in kernels])
        self._kernel_id = numbers.repeat_interleave(torch.tensor(counts))

    def batch(self, kinds: Int[Tensor, "B"], params: Sequence[Float[Tensor, "_"]]) -> NeuralGraph:
        """The torch-geometric batch of `B` networks; differentiable.

        Args:
            kinds: number of each network's template.
            params: each network's flat parameters.

        Raises:
            NNGraphsError: flat parameters are of another length than their template's.
        """
        flat, first_param = self._flat(kinds, params)
        nodes, node_runs, graph_id = self._nodes.chosen(kinds)
        edges, edge_runs, edge_graph = self._edges.chosen(kinds)
        fields = {name: self._table[name][nodes] for name in NODE_FIELDS}
        fields |= {name: self._table[name][..., edges] for name in EDGE_FIELDS}
        fields["edge_index"] = fields["edge_index"] + node_runs.start[edge_graph]
        for name, value in fields.items():
            if value.is_floating_point():
                fields[name] = value.to(torch.promote_types(flat.dtype, torch.float32))
        bias_place = self._bias_place[nodes]
        bias_place = torch.where(bias_place < 0, 0, bias_place + first_param[graph_id])
        first_place = self._first_place[edges]
        first_place = torch.where(
            first_place < 0, 1 + self._constant_id[edges], first_place + first_param[edge_graph]
        )
        kernel_id = self._kernel_id[edges]
        if self.kernel_size:
            fields["is_value"] = self._is_value.index_select(0, kernel_id)
        features = {
            "x": flat[bias_place].unsqueeze(1),
            "edge_attr": self._centred(flat, first_place, kernel_id),
        }
        return _as_batch(features | fields, node_runs, edge_runs, graph_id)

    def _centred(
        self, flat: Float[Tensor, "values"], first: Int[Tensor, "E"], kernel_id: Int[Tensor, "E"]
    ) -> Float[Tensor, "E size"]:
        """Kernels that begin at given places, one size after the other."""
        centred = flat.new_zeros(len(first), math.prod(self.kernel_size))
        for number, kernel in enumerate(self._kernels):
            edges = (kernel_id == number).nonzero().squeeze(1)
            if len(edges):
                windows = flat.unfold(0, math.prod(kernel), 1)  # every run of so many values
                values = windows.index_select(0, first[edges])
                values = padded_kernels(values, kernel, self.kernel_size)
                centred = centred.index_copy(0, edges, values)
        return centred

    def _flat(
        self, kinds: Int[Tensor, "B"], params: Sequence[Tensor]
    ) -> tuple[Float[Tensor, "values"], Int[Tensor, "B"]]:
        """0, the constants, all parameters; and where each network's parameters begin."""
        lengths = torch.tensor([len(values) for values in params])
        wrong = (lengths != self._num_params[kinds]).nonzero().flatten().tolist()
        if wrong:
            raise NNGraphsError(
                f"make a batch of {len(params)} neural graphs",
                found=f"network {wrong[0]} has {int(lengths[wrong[0]])} parameters, its "
                f"architecture {int(self._num_params[kinds[wrong[0]]])}.",
                do="Give each network the number of its own template.",
            )
        head = torch.cat([torch.zeros(1), self._constants]).to(params[0])
        runs = _Rows.of(lengths)
        return torch.cat([head, *params]), runs.start + len(head)


def _places(
    template: GraphTemplate,
) -> tuple[Int[Tensor, "num_nodes"], Int[Tensor, "num_edges"], Float[Tensor, "num_edges"]]:
    """Which parameter each bias is, and which each edge's first value; -1: none.

    Then the values of edges that no parameter changes.
    """
    numbers = torch.arange(template.num_params, dtype=torch.float64)
    graphs = template.stack(numbers.unsqueeze(0))
    is_first = torch.ones(template.num_values, dtype=torch.bool)
    is_first[1:] = template.edge_of_value[1:] != template.edge_of_value[:-1]
    shown = graphs.edge_features[0, is_first, 0]
    structure = template.structure()
    is_constant = structure.edge_kind_id == 1
    bias = torch.where(structure.has_bias, graphs.node_features[0, :, 0].long(), -1)
    return bias, torch.where(is_constant, -1, shown.long()), torch.where(is_constant, shown, 0.0)


def _as_batch(
    fields: dict[str, Tensor], nodes: _Rows, edges: _Rows, graph_id: Int[Tensor, "num_nodes"]
) -> NeuralGraph:
    """What `Batch.from_data_list` would have made of the graphs, one by one."""
    ends = {name: _ends(edges if _is_of_edges(name) else nodes) for name in fields}
    batch = Batch(_base_cls=NeuralGraph, **fields)
    batch.num_nodes = len(graph_id)
    batch.batch, batch.ptr = graph_id, ends["x"]
    batch._num_graphs = len(nodes.count)
    none = torch.zeros(len(nodes.count), dtype=torch.long)
    batch._slice_dict = ends
    batch._inc_dict = dict.fromkeys(ends, none) | {"edge_index": nodes.start}
    batch._num_nodes = nodes.count.tolist()
    return batch


def _is_of_edges(name: str) -> bool:
    return name in (*EDGE_FIELDS, "edge_attr", "is_value")


def _ends(runs: _Rows) -> Int[Tensor, "owners_and_one"]:
    return torch.cat([runs.start, runs.count.sum().unsqueeze(0)])
