"""Graph templates: one architecture compiled once, so that any weights become a graph by copying.

A template knows the groups of neurons, the blocks of edges between them, and which slice of the
flat parameter vector each of them shows. Edges are ordered by block; within a dense block the edge
from source neuron i to target neuron o is number `o * num_sources + i`, torch's `[out, in]`, so a
block's features are a contiguous slice of the parameters and back.

A `NeuralGraph` has one row an edge: of convolutions, kernels in the middle of the template's
largest one. In stacks, kernels may also keep their own sizes: the features of the edges are then
`[num_values, 1]`, edge after edge, and `centred` brings all to one size `[num_edges, prod(size)]`.

What a template makes of many networks is a `NeuralGraphStack`, which knows its template in turn.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.geometric_batch import batch_of_fields, with_later_fields
from nn_graphs.graphs.graph_structure import (
    EDGE_FIELDS,
    GraphStructure,
    make_structure,
    node_fields,
    repeated_structure,
)
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.group_rules import Opaque
from nn_graphs.graphs.parts.kernels import (
    centred_kernels,
    check_fits,
    common_kernel_size,
    cropped_kernels,
    edge_of_value,
)
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup, shown_widths
from nn_graphs.graphs.parts.parameter_places import (
    Places,
    check_features,
    check_shape,
    check_values,
    divided_slots,
    edge_features,
    node_features,
    places_of,
    shown_params,
)
from nn_graphs.graphs.parts.steps import Unfollowed
from nn_graphs.graphs.parts.symmetries import NeuronRules, Symmetries
from nn_graphs.graphs.topology import LayeredTopology
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot


@dataclass(frozen=True, eq=False)
class GraphTemplate:
    """The map between the parameters of one architecture and its neural graphs.

    Attributes:
        groups: the neurons, in topological order.
        blocks: the edges, ordered by target group.
        parameters: the flat parameter vector.
        symmetries: which neurons can be permuted without changing what a network computes.
        masks: of the parameters that have one, which of their values exist; the others are zero.
    """

    groups: tuple[NodeGroup, ...]
    blocks: tuple[EdgeBlock, ...]
    parameters: ParameterLayout
    symmetries: Symmetries
    masks: Mapping[ParameterSlot, Bool[Tensor, "..."]] = field(default_factory=dict, repr=False)
    _cache: dict = field(default_factory=dict, init=False, repr=False)  # by device and dtype

    def __repr__(self) -> str:
        counts = f"{self.num_nodes} neurons, {self.num_edges} edges, {self.num_params} parameters"
        return f"GraphTemplate({self.widths}: {counts})"

    @property
    def widths(self) -> str:
        """The widths of all groups of neurons, as `2-32-32-1`; of many, the first and the last."""
        return shown_widths(self.groups)

    @property
    def num_nodes(self) -> int:
        return self.groups[-1].stop

    @property
    def num_edges(self) -> int:
        return self.blocks[-1].stop if self.blocks else 0

    @property
    def num_values(self) -> int:
        """How many values the edges hold: one each, or a kernel."""
        return self.blocks[-1].last_value if self.blocks else 0

    @property
    def num_params(self) -> int:
        return self.parameters.num_params

    @cached_property
    def is_plain(self) -> bool:
        """Whether the network is made of linear maps, activations and additive skips alone."""
        groups = all(group.rule.is_linear and group.axis == -1 for group in self.groups)
        return groups and all(block.is_plain for block in self.blocks)

    @cached_property
    def opaque_operations(self) -> tuple[Opaque, ...]:
        """Operations that `trace` does not know and was asked to keep, in order."""
        rules = (group.rule for group in self.groups)
        return tuple(dict.fromkeys(rule for rule in rules if isinstance(rule, Opaque)))

    @cached_property
    def is_runnable(self) -> bool:
        """Whether the graph alone tells how to compute the network's outputs (`propagate`)."""
        steps = (step for block in self.blocks for step in block.steps)
        rules = all(group.rule.is_runnable for group in self.groups)
        return rules and not any(isinstance(step, Unfollowed) for step in steps)

    @cached_property
    def kernel_size(self) -> tuple[int, ...]:
        """The smallest size that every kernel fits in."""
        return common_kernel_size([block.kernel for block in self.blocks])

    @cached_property
    def has_regular_blocks(self) -> bool:
        """Whether messages can be passed over its blocks of edges; see `topology`."""
        return all(block.is_regular for block in self.blocks)

    @cached_property
    def edge_of_value(self) -> Int[Tensor, "num_values"]:
        """Which edge each of the `num_values` belongs to."""
        return edge_of_value(self.blocks)

    def is_value(
        self, kernel_size: tuple[int, ...], device: torch.device | str = "cpu"
    ) -> Bool[Tensor, "num_edges size"]:
        """Which values of kernels brought to one size are their own."""
        key = ("is_value", kernel_size, torch.device(device))
        if key not in self._cache:
            ones = torch.ones(self.num_values, 1, device=device)
            self._cache[key] = centred_kernels(ones, self.blocks, kernel_size) > 0
        return self._cache[key]

    def num_neurons(self, kind: NeuronKind) -> int:
        """How many inputs, hidden neurons or outputs there are."""
        return sum(group.width for group in self.groups if group.kind is kind)

    @property
    def num_hidden_groups(self) -> int:
        return sum(group.kind is NeuronKind.HIDDEN for group in self.groups)

    def blocks_from(self, group: int) -> list[EdgeBlock]:
        """The blocks of edges that leave a group."""
        return [block for block in self.blocks if block.source == group]

    @cached_property
    def places(self) -> Places:
        """Where the graph shows each parameter: the groups of a bias, the blocks of a weight."""
        return places_of(self.groups, self.blocks)

    @cached_property
    def is_shown(self) -> Bool[Tensor, "num_params"]:
        """Which parameters the graph shows; a parameter that no output needs is in none."""
        return torch.cat([torch.full((slot.size,), slot in self.places) for slot in self._slots])

    @property
    def num_unshown(self) -> int:
        """How many parameters the graph shows nowhere; stacks and graphs carry them along."""
        return sum(slot.size for slot in self._unshown)

    @property
    def unshown_numbers(self) -> Int[Tensor, "num_unshown"]:
        """The places of these in the flat vector."""
        parts = [torch.arange(slot.offset, slot.stop) for slot in self._unshown]
        return torch.cat([torch.empty(0, dtype=torch.long), *parts])

    @cached_property
    def _unshown(self) -> list[ParameterSlot]:
        return [slot for slot in self._slots if slot not in self.places]

    @cached_property
    def _slots(self) -> list[ParameterSlot]:
        return divided_slots(self.parameters, self.places)

    @cached_property
    def neuron_rules(self) -> NeuronRules:
        """Which signs, scales and phases the activations allow."""
        return NeuronRules(self.groups, self.blocks, symmetries=self.symmetries, places=self.places)

    def factor_id(self, device: torch.device | str = "cpu") -> Int[Tensor, "num_nodes"]:
        """By what each neuron may be multiplied: 0 nothing, 1 a sign, 2 a scale, 3 both.

        Its weights from others and its bias, that is, with the weights to others divided by it.
        """
        key = ("factor_id", torch.device(device))
        if key not in self._cache:
            rules = self.neuron_rules
            self._cache[key] = (rules.allows_sign + 2 * rules.allows_scale).to(device)
        return self._cache[key]

    @cached_property
    def factors(self) -> tuple[bool, bool]:
        """Whether there are neurons that allow signs, and neurons that allow scales."""
        rules = self.neuron_rules
        return bool(rules.allows_sign.any()), bool(rules.allows_scale.any())

    # Parameters -> graph.

    def __call__(self, source: Tensor | nn.Module | Mapping[str, Tensor]) -> NeuralGraph:
        """The neural graph of one network: a flat vector `[num_params]`, a module or a state dict.

        Kernels are in the middle of the largest (`kernel_size`), zeros around them.

        Raises:
            NNGraphsError: the tensors do not fit this architecture, or hold NaN or infinity.
        """
        params = source if isinstance(source, Tensor) else self.parameters.flatten(source)
        check_shape(self.parameters, params, (self.num_params,))
        check_values(self.parameters, params)
        return self.stack(params.unsqueeze(0))[0]

    def stack(self, params: Float[Tensor, "B num_params"]) -> "NeuralGraphStack":
        """The neural graphs of `B` networks; differentiable, and without a look at the values.

        Raises:
            NNGraphsError: the vectors are of another length.
        """
        check_shape(self.parameters, params, (len(params), self.num_params))
        nodes = node_features(self.groups, self.parameters, params)
        edges = edge_features(self.blocks, self.parameters, params)
        parts = [params[:, slot.offset : slot.stop] for slot in self._unshown]
        unshown = torch.cat(parts, dim=1) if parts else None
        return NeuralGraphStack(self, nodes, edges, unshown=unshown)

    # Graph -> parameters.

    def invert(
        self,
        graphs: "NeuralGraph | NeuralGraphStack",
        *,
        base: Float[Tensor, "*B num_params"] | None = None,
    ) -> Float[Tensor, "*B num_params"]:
        """The parameters that a graph shows, or of a stack or batch `[B, num_params]`.

        For graphs as the template made them this gives back the parameters bit for bit. A tensor
        that stands in several places of the graph (tied weights) is read from the first; give
        `base`, the parameters before the graph was edited, and the changes of all places add up.
        Parameters that no place shows are taken from `base`, else from what graphs carry of them
        (`unshown`). Of centred kernels, the middles are read.

        Raises:
            NNGraphsError: the graphs are of another architecture; or neither they nor `base` have
                the parameters that no place shows.
        """
        if not isinstance(graphs, NeuralGraphStack) and "batch" in graphs:
            graphs = self.stack_of(graphs)
        if isinstance(graphs, NeuralGraphStack):
            edges = graphs.with_own_kernels().edge_features
        else:
            edges = self._own_values(graphs)
        nodes = graphs.node_features
        check_features(
            self.parameters,
            nodes,
            edges,
            num_nodes=self.num_nodes,
            num_edges=self.num_edges,
            num_values=self.num_values,
        )
        unshown = graphs.get("unshown") if isinstance(graphs, NeuralGraph) else graphs.unshown
        return shown_params(self._slots, self.places, nodes, edges, base=base, unshown=unshown)

    def stack_of(self, graphs: NeuralGraph) -> "NeuralGraphStack":
        """A torch-geometric batch of graphs of this architecture, or one graph, as a stack.

        Graphs of an architecture that has the same neurons and edges, but other activations, are
        taken as well; the stack has the activations of this template.

        Raises:
            NNGraphsError: a graph has other neurons or edges.
        """
        count = graphs.num_graphs
        nodes, edges, size = graphs.node_features, graphs.edge_features, self.kernel_size
        if edges.shape[-1] != math.prod(size):
            edges, size = self._own_values(graphs), ()
        self._check_batch(graphs, num_rows=len(edges), has_own_kernels=not size)
        return NeuralGraphStack(
            self,
            nodes.unflatten(0, (count, self.num_nodes)),
            edges.unflatten(0, (count, -1)),
            kernel_size=size or None,
            unshown=self._unshown_of(graphs),
        )

    def _unshown_of(self, graphs: NeuralGraph) -> Float[Tensor, "B num_unshown"] | None:
        """What each graph of a batch carries; None where they have lost it, or are no network's."""
        unshown = graphs.get("unshown")
        is_whole = unshown is not None and len(unshown) == graphs.num_graphs * self.num_unshown
        return unshown.view(graphs.num_graphs, -1) if is_whole and len(unshown) else None

    def _check_batch(self, graphs: NeuralGraph, *, num_rows: int, has_own_kernels: bool) -> None:
        """Raises where graphs have other neurons, edges or values on them."""
        count = graphs.num_graphs
        own = self.structure(graphs.edge_index.device).edge_index.unsqueeze(1)
        first = torch.arange(count, device=own.device).unsqueeze(1) * self.num_nodes
        expected = count * (self.num_values if has_own_kernels else self.num_edges)
        if num_rows != expected or not torch.equal(graphs.edge_index, (own + first).flatten(1)):
            raise NNGraphsError(
                f"stack {count} graphs with {self.num_nodes} neurons and {self.num_edges} edges",
                found=f"the batch has {graphs.num_nodes} neurons and {graphs.num_edges} edges with "
                f"{num_rows} values or kernels, not {count * self.num_nodes} and "
                f"{count * self.num_edges} with {expected} in this order.",
                do="Choose an encoder of graphs, or a zoo of one architecture.",
            )

    def _own_values(self, graphs: NeuralGraph) -> Float[Tensor, "num_values 1"]:
        """The values on the edges of a graph or batch, without zeros around kernels."""
        edges = graphs.edge_features
        if not self.kernel_size and edges.shape[-1] == 1:
            return edges
        is_value = graphs.is_value if "is_value" in graphs else None
        if is_value is None and edges.shape == (self.num_edges, math.prod(self.kernel_size)):
            is_value = self.is_value(self.kernel_size, edges.device)
        return edges if is_value is None else edges[is_value].unsqueeze(1)

    # Kernels.

    def centred(
        self, graphs: "NeuralGraph | NeuralGraphStack", kernel_size: tuple[int, ...]
    ) -> "NeuralGraph | NeuralGraphStack":
        """The graphs with every kernel in the middle of one of a given size, zeros around it.

        The edge features become `[num_edges, prod(kernel_size)]`. A kernel of fewer axes lies on
        the last of them; where it cannot lie in the middle, it lies nearer the start.

        Raises:
            NNGraphsError: a kernel is larger.
        """
        check_fits(self.kernel_size, kernel_size)
        if isinstance(graphs, NeuralGraphStack):
            own = graphs.with_own_kernels().edge_features
            edges = centred_kernels(own, self.blocks, kernel_size)
            return replace(graphs, edge_features=edges, kernel_size=kernel_size)
        edges = centred_kernels(self._own_values(graphs), self.blocks, kernel_size)
        centred = graphs.with_features(graphs.node_features, edges)
        centred.is_value = self.is_value(kernel_size, edges.device)
        return centred

    def cropped(
        self, graphs: "NeuralGraphStack", kernel_size: tuple[int, ...]
    ) -> "NeuralGraphStack":
        """The inverse of `centred`."""
        edges = cropped_kernels(graphs.edge_features, self.blocks, kernel_size)
        return replace(graphs, edge_features=edges, kernel_size=None)

    # Structure.

    def structure(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> GraphStructure:
        """Ids and edges of the graphs, on a device; constants are in float32 or, if asked, 64."""
        return self._structure(torch.device(device), dtype)

    def node_fields(self, like: Tensor) -> dict[str, Tensor]:
        """The fields of the structure with an entry a neuron, without a look at edges."""
        dtype = torch.promote_types(like.dtype, torch.float32)
        key = ("neurons", like.device, dtype)
        if key not in self._cache:
            self._cache[key] = {
                name: value.to(like.device, dtype if value.is_floating_point() else value.dtype)
                for name, value in node_fields(self.groups).items()
            }
        return self._cache[key]

    def topology(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> LayeredTopology:
        """Message passing over the blocks of this template.

        Values on edges are `[B, num_edges, dim]`; kernels must be centred.

        Raises:
            NNGraphsError: blocks are no matrices and diagonals between the first neurons of groups.
        """
        if not self.has_regular_blocks:
            raise NNGraphsError(
                "pass messages over blocks of edges",
                found="some are of grouped, transposed or flattened maps, or of parts of a layer.",
                do="Centre the kernels (template.centred) and batch graphs with torch-geometric.",
            )
        key = ("topology", torch.device(device), torch.promote_types(dtype, torch.float32))
        if key not in self._cache:
            structure = self._structure(torch.device(device), dtype)
            self._cache[key] = LayeredTopology(self.groups, self.blocks, structure)
        return self._cache[key]

    def _structure(self, device: torch.device, dtype: torch.dtype) -> GraphStructure:
        key = ("structure", device, torch.promote_types(dtype, torch.float32))
        if key not in self._cache:
            self._cache[key] = make_structure(self.groups, self.blocks).to(*key[1:])
        return self._cache[key]

    def __getstate__(self) -> dict:
        return {**vars(self), "_cache": {}}


def _structure_field(
    template: GraphTemplate, name: str, device: torch.device, dtype: torch.dtype
) -> Tensor:
    return getattr(template.structure(device, dtype), name)


@dataclass(frozen=True)
class NeuralGraphStack:
    """`B` neural graphs of one architecture.

    Attributes:
        template: their architecture.
        node_features: `[B, num_nodes, node_dim]`.
        edge_features: `[B, num_edges, edge_dim]`; of kernels as their template makes them,
            `[B, num_values, 1]`.
        kernel_size: the size that all kernels have been brought to (`GraphTemplate.centred`).
        unshown: `[B, num_unshown]`, the parameters that no neuron and no edge shows; None where the
            graphs show all, or are no network's.
    """

    template: GraphTemplate
    node_features: Float[Tensor, "B num_nodes node_dim"]
    edge_features: Float[Tensor, "B num_edges edge_dim"]
    kernel_size: tuple[int, ...] | None = None
    unshown: Float[Tensor, "B num_unshown"] | None = None

    def __repr__(self) -> str:
        template = self.template
        counts = f"{template.num_nodes} neurons, {template.num_edges} edges each"
        return f"NeuralGraphStack({len(self)} graphs of {template.widths}: {counts})"

    def __len__(self) -> int:
        return len(self.node_features)

    @property
    def num_graphs(self) -> int:
        return len(self)

    def __getitem__(self, number: int) -> NeuralGraph:
        """One graph of the stack, with a row for every edge."""
        template, size = self.template, self.kernel_size
        edges = self.edge_features[number]
        if size is None and template.kernel_size and len(edges) == template.num_values:
            size = template.kernel_size
            edges = centred_kernels(edges, template.blocks, size)
        nodes = self.node_features[number]
        graph = NeuralGraph(
            x=nodes, edge_attr=edges, num_nodes=len(nodes), **template.node_fields(nodes)
        )
        graph.unshown = nodes.new_empty(0) if self.unshown is None else self.unshown[number]
        later = {
            name: partial(_structure_field, template, name, nodes.device, nodes.dtype)
            for name in EDGE_FIELDS
        }
        later["factor_id"] = partial(template.factor_id, nodes.device)
        if size is not None:
            later["is_value"] = partial(template.is_value, size, edges.device)
        return with_later_fields(graph, later)

    def __iter__(self) -> Iterator[NeuralGraph]:
        return (self[number] for number in range(len(self)))

    def split(self, size: int) -> "list[NeuralGraphStack]":
        """Stacks of at most `size` of these graphs, in order."""
        nodes, edges = self.node_features.split(size), self.edge_features.split(size)
        rests = [None] * len(nodes) if self.unshown is None else self.unshown.split(size)
        return [
            replace(self, node_features=node, edge_features=edge, unshown=rest)
            for node, edge, rest in zip(nodes, edges, rests, strict=True)
        ]

    @property
    def structure(self) -> GraphStructure:
        return self.template.structure(self.node_features.device, self.node_features.dtype)

    @property
    def factor_id(self) -> Int[Tensor, "num_nodes"]:
        """By what each neuron may be multiplied, see `GraphTemplate.factor_id`."""
        return self.template.factor_id(self.node_features.device)

    @property
    def topology(self) -> LayeredTopology:
        """Message passing over blocks of edges, without a gather."""
        return self.template.topology(self.node_features.device, self.node_features.dtype)

    def output_values(
        self, nodes: Float[Tensor, "B num_nodes dim"]
    ) -> Float[Tensor, "B num_outputs dim"]:
        """Of values on all neurons, those on the output neurons, which templates put last."""
        return nodes[:, -self.template.num_neurons(NeuronKind.OUTPUT) :]

    def with_features(self, node_features: Tensor, edge_features: Tensor) -> "NeuralGraphStack":
        """The same graphs with other biases and weights."""
        return replace(self, node_features=node_features, edge_features=edge_features)

    def with_own_kernels(self) -> "NeuralGraphStack":
        """The same graphs with kernels of their own sizes, as their template makes them."""
        if self.kernel_size is None:
            return self
        return self.template.cropped(self, self.kernel_size)

    @property
    def params(self) -> Float[Tensor, "B num_params"]:
        return self.template.invert(self)

    def to_batch(self) -> NeuralGraph:
        """What `Batch.from_data_list` makes of these graphs; `template.stack_of` goes back."""
        template, size = self.template, self.kernel_size
        if size is None and template.kernel_size:
            return template.centred(self, template.kernel_size).to_batch()
        fields = repeated_structure(self.structure, len(self), num_nodes=template.num_nodes)
        fields["factor_id"] = template.factor_id(self.node_features.device).repeat(len(self))
        if size is not None:
            is_value = template.is_value(size, self.edge_features.device)
            fields["is_value"] = is_value.repeat(len(self), 1)
        features = {
            "x": self.node_features.flatten(0, 1),
            "edge_attr": self.edge_features.flatten(0, 1),
        }
        none = self.node_features.new_empty(0)
        fields["unshown"] = none if self.unshown is None else self.unshown.flatten()
        ones = torch.ones(len(self), dtype=torch.long)
        return batch_of_fields(
            features | fields,
            num_nodes=template.num_nodes * ones,
            num_edges=template.num_edges * ones,
            num_unshown=len(fields["unshown"]) // len(self) * ones,
        )

    def to(self, device: torch.device | str, *, non_blocking: bool = False) -> "NeuralGraphStack":
        nodes, edges, rest = (
            None if each is None else each.to(device, non_blocking=non_blocking)
            for each in (self.node_features, self.edge_features, self.unshown)
        )
        return replace(self, node_features=nodes, edge_features=edges, unshown=rest)
