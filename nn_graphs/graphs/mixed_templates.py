"""Batches of neural graphs of many architectures, gathered from tables of all of them.

Structures of all templates lie side by side, and for every neuron and edge it is known which entry
of a network's flat parameters it shows. A batch is then a few gathers, however many architectures
are in it, and no graph is made by itself. Graphs of architectures that differ in their activations
alone can be had as one stack, so that a model of one architecture, which does not look at
activations, can be trained on a zoo of networks with relu and with tanh.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.geometric_batch import batch_of_fields
from nn_graphs.graphs.graph_structure import EDGE_FIELDS, NODE_FIELDS, STRUCTURE_FIELDS
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parameter_numbers import parameter_numbers
from nn_graphs.graphs.parts.kernels import check_fits, common_kernel_size, is_inside, padded_kernels

ACTIVATION_FIELDS = ("activation_id", "activation_parameter", "offset")
SHAPE_FIELDS = tuple(name for name in STRUCTURE_FIELDS if name not in ACTIVATION_FIELDS)


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

    Kernels are in the middle of one size (`kernel_size`).

    Args:
        templates: the architectures.
        kernel_size: None: the largest one of all.

    Raises:
        NNGraphsError: a kernel is larger.
    """

    def __init__(
        self, templates: Sequence[GraphTemplate], *, kernel_size: tuple[int, ...] | None = None
    ):
        self.templates = tuple(templates)
        largest = common_kernel_size([template.kernel_size for template in templates])
        self.kernel_size = largest if kernel_size is None else kernel_size
        check_fits(largest, self.kernel_size)
        structures = [template.structure() for template in templates]
        self._nodes = _Rows.of([template.num_nodes for template in templates])
        self._edges = _Rows.of([template.num_edges for template in templates])
        self._values = _Rows.of([template.num_values for template in templates])
        unshown = [template.unshown_numbers for template in templates]
        self._unshown = _Rows.of([len(numbers) for numbers in unshown])
        self._unshown_place = torch.cat(unshown)
        self._num_params = torch.tensor([template.num_params for template in templates])
        self._table = {
            name: torch.cat([vars(structure)[name] for structure in structures], dim=-1)
            for name in STRUCTURE_FIELDS
        }
        self._table["factor_id"] = torch.cat([template.factor_id() for template in templates])
        places = [_places(template) for template in templates]
        self._bias_place, self._first_place, constants = map(torch.cat, zip(*places, strict=True))
        self._constants, self._constant_id = constants.unique(return_inverse=True)
        kernels = [block.kernel for template in templates for block in template.blocks]
        self._kernels = known = list(dict.fromkeys(kernels))
        self._is_value = torch.stack([is_inside(kernel, self.kernel_size) for kernel in known])
        counts = [block.num_edges for template in templates for block in template.blocks]
        numbers = torch.tensor([known.index(kernel) for kernel in kernels])
        self._kernel_id = numbers.repeat_interleave(torch.tensor(counts))

    def __repr__(self) -> str:
        counts = {
            "neurons": self._nodes.count,
            "edges": self._edges.count,
            "parameters": self._num_params,
        }
        spans = ", ".join(f"{_span(each)} {name}" for name, each in counts.items())
        return f"MixedTemplates({len(self._num_params)} architectures: {spans})"

    def batch(self, kinds: Int[Tensor, "B"], params: Sequence[Float[Tensor, "_"]]) -> NeuralGraph:
        """The torch-geometric batch of `B` networks, on the parameters' device; differentiable.

        Beside the fields of a `NeuralGraph` it has `template_id [B]`, the number of each network's
        template, by which `stacks_of` and `params_of` find the way back.

        Args:
            kinds: number of each network's template.
            params: each network's flat parameters.

        Raises:
            NNGraphsError: flat parameters are of another length than their template's.
        """
        kinds = kinds.cpu()
        flat, first_param = self._flat(kinds, params)
        nodes, node_runs, graph_id = self._nodes.chosen(kinds)
        edges, edge_runs, edge_graph = self._edges.chosen(kinds)
        fields = {name: self._table[name][nodes] for name in (*NODE_FIELDS, "factor_id")}
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
        fields["template_id"] = kinds
        rest, rest_runs, rest_graph = self._unshown.chosen(kinds)
        rest_place = self._unshown_place[rest] + first_param[rest_graph]
        device = flat.device
        features = {
            "x": flat[bias_place.to(device)].unsqueeze(1),
            "edge_attr": self._centred(flat, first_place.to(device), kernel_id.to(device)),
            "unshown": flat[rest_place.to(device)],
        }
        fields = {name: value.to(device) for name, value in fields.items()}
        return batch_of_fields(
            features | fields,
            num_nodes=node_runs.count,
            num_edges=edge_runs.count,
            num_unshown=rest_runs.count,
        )

    # Batches -> stacks and parameters.

    def stacks_of(
        self, batch: NeuralGraph
    ) -> Iterator[tuple[Int[Tensor, "count"], NeuralGraphStack]]:
        """Of each architecture in a batch, which graphs are of it, and these as a stack.

        Kernels of the stacks have their own sizes.

        Raises:
            NNGraphsError: the batch was not made by `batch`.
        """
        for numbers, nodes, values, rest in self._rows_of(batch):
            kind = int(batch.template_id[numbers[0]])
            x = batch.node_features[nodes].unflatten(0, (len(numbers), -1))
            edges = self._own_values(batch)[values].unflatten(0, (len(numbers), -1))
            unshown = batch.unshown[rest].view(len(numbers), -1) if len(rest) else None
            yield numbers, NeuralGraphStack(self.templates[kind], x, edges, unshown=unshown)

    def params_of(self, batch: NeuralGraph) -> list[Float[Tensor, "_"]]:
        """The flat parameters of each graph of a batch; see `GraphTemplate.invert`.

        Raises:
            NNGraphsError: the batch was not made by `batch`.
        """
        found: list[Tensor] = [batch.node_features] * batch.num_graphs
        for numbers, stack in self.stacks_of(batch):
            for number, params in zip(numbers.tolist(), stack.params, strict=True):
                found[number] = params
        return found

    def changed(
        self, batch: NeuralGraph, change: Callable[[NeuralGraphStack], NeuralGraphStack]
    ) -> NeuralGraph:
        """A batch whose graphs are changed as stacks, one architecture after the other.

        Raises:
            NNGraphsError: the batch was not made by `batch`.
        """
        x, values = batch.node_features, self._own_values(batch)
        for (_, nodes, rows, _), (_, stack) in zip(
            self._rows_of(batch), self.stacks_of(batch), strict=True
        ):
            own = change(stack).with_own_kernels()
            x = x.index_copy(0, nodes, own.node_features.flatten(0, 1))
            values = values.index_copy(0, rows, own.edge_features.flatten(0, 1))
        if self.kernel_size:
            zeros = torch.zeros_like(batch.edge_features)
            values = zeros.masked_scatter(batch.is_value, values)
        return batch.with_features(x, values)

    def _own_values(self, batch: NeuralGraph) -> Float[Tensor, "num_values 1"]:
        edges = batch.edge_features
        return edges[batch.is_value].unsqueeze(1) if self.kernel_size else edges

    def _rows_of(self, batch: NeuralGraph) -> Iterator[tuple[Tensor, ...]]:
        """Of each architecture in a batch: its graphs, and the rows of their neurons, of values and
        of what they do not show."""
        if "template_id" not in batch:
            raise NNGraphsError(
                f"tell the architectures of {batch.num_graphs} graphs in a batch",
                found="it does not say them (template_id).",
                do="Make it by MixedTemplates.batch, or use template.stack_of for graphs of one "
                "architecture.",
            )
        kinds, device = batch.template_id.cpu(), batch.node_features.device
        runs = [_Rows.of(rows.count[kinds]) for rows in (self._nodes, self._values, self._unshown)]
        for kind in kinds.unique():
            numbers = (kinds == kind).nonzero().squeeze(1)
            yield numbers, *(run.chosen(numbers)[0].to(device) for run in runs)

    # Parameters -> batches.

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


def _span(counts: Int[Tensor, "templates"]) -> str:
    """The smallest and the largest of some counts, in words."""
    smallest, largest = int(counts.min()), int(counts.max())
    return str(smallest) if smallest == largest else f"{smallest} to {largest}"


def _places(
    template: GraphTemplate,
) -> tuple[Int[Tensor, "num_nodes"], Int[Tensor, "num_edges"], Float[Tensor, "num_edges"]]:
    """Which parameter each bias is, and which each edge's first value; -1: none.

    Then the values of edges that no parameter changes.
    """
    biases, values = parameter_numbers(template)
    none = template.stack(torch.zeros(1, template.num_params, dtype=torch.float64))
    is_first = torch.ones(template.num_values, dtype=torch.bool)
    is_first[1:] = template.edge_of_value[1:] != template.edge_of_value[:-1]
    return biases, values[is_first], none.edge_features[0, is_first, 0]


def are_alike(templates: Sequence[GraphTemplate]) -> bool:
    """Whether architectures have the same neurons, edges and kernels."""
    first, *others = templates
    shape = vars(first.structure())
    kernels = [block.kernel for block in first.blocks]
    return all(
        [block.kernel for block in other.blocks] == kernels
        and all(torch.equal(vars(other.structure())[name], shape[name]) for name in SHAPE_FIELDS)
        for other in others
    )


class AsStack(nn.Module):
    """Batches of graphs that are alike, as stacks of one of their templates; stacks stay.

    Args:
        template: whose activations the graphs then seem to have.
    """

    def __init__(self, template: GraphTemplate):
        super().__init__()
        self.template = template

    def forward(self, graphs: NeuralGraph | NeuralGraphStack) -> NeuralGraphStack:
        """
        Raises:
            NNGraphsError: a graph has other neurons or edges.
        """
        if isinstance(graphs, NeuralGraphStack):
            return graphs
        return self.template.stack_of(graphs)
