"""Graph templates: one architecture compiled once, so that any weights become a graph by copying.

A template knows the groups of neurons, the blocks of edges between them, and which slice of the
flat parameter vector each of them shows. Edges are ordered by block; within a dense block the edge
from source neuron i to target neuron o is number `o * num_sources + i`, torch's `[out, in]`, so a
block's features are a contiguous slice of the parameters and back.

The kernel of a convolution is stored at its own size: the features of the edges are then
`[num_values, 1]`, edge after edge, and `centred` brings all to one size `[num_edges, prod(size)]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.groups import EdgeBlock, NodeGroup
from nn_graphs.graphs.kernels import centred_kernels, common_kernel_size, cropped_kernels
from nn_graphs.graphs.neural_graph import (
    GraphStructure,
    NeuralGraph,
    NeuralGraphStack,
    NeuronKind,
)
from nn_graphs.graphs.symmetry import NeuronRules, Symmetries
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
    """

    groups: tuple[NodeGroup, ...]
    blocks: tuple[EdgeBlock, ...]
    parameters: ParameterLayout
    symmetries: Symmetries
    _cache: dict = field(default_factory=dict, init=False, repr=False)  # by device and dtype

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
        sizes = torch.tensor([block.kernel_size for block in self.blocks])
        counts = torch.tensor([block.num_edges for block in self.blocks])
        return torch.arange(self.num_edges).repeat_interleave(sizes.repeat_interleave(counts))

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
    def places(self) -> dict[ParameterSlot, list[NodeGroup | EdgeBlock]]:
        """Where the graph shows each parameter: the groups of a bias, the blocks of a weight."""
        places: dict[ParameterSlot, list[NodeGroup | EdgeBlock]] = {}
        for slot, place in [(group.bias, group) for group in self.groups] + [
            (block.weight, block) for block in self.blocks
        ]:
            if slot is not None:
                places.setdefault(slot, []).append(place)
        return places

    @cached_property
    def is_shown(self) -> Bool[Tensor, "num_params"]:
        """Which parameters the graph shows; a parameter that no output needs is in none."""
        return torch.cat(
            [torch.full((slot.size,), slot in self.places) for slot in self.parameters.slots]
        )

    @cached_property
    def neuron_rules(self) -> NeuronRules:
        """Which signs, scales and phases the activations allow."""
        return NeuronRules(self)

    # Parameters -> graph.

    def __call__(self, source: Tensor | nn.Module | Mapping[str, Tensor]) -> NeuralGraph:
        """The neural graph of one network: a flat vector `[num_params]`, a module or a state dict.

        Raises:
            NNGraphsError: the tensors do not fit this architecture, or hold NaN or infinity.
        """
        params = source if isinstance(source, Tensor) else self.parameters.flatten(source)
        self._check_shape(params, (self.num_params,))
        self._check_values(params)
        return self.stack(params.unsqueeze(0))[0]

    def stack(self, params: Float[Tensor, "B num_params"]) -> NeuralGraphStack:
        """The neural graphs of `B` networks; differentiable, and without a look at the values.

        Raises:
            NNGraphsError: the vectors are of another length.
        """
        self._check_shape(params, (len(params), self.num_params))
        return NeuralGraphStack(self, self._node_features(params), self._edge_features(params))

    def _node_features(self, params: Tensor) -> Float[Tensor, "B num_nodes 1"]:
        parts = [
            self.parameters.view(params, group.bias)
            if group.bias is not None
            else params.new_zeros(len(params), group.width)
            for group in self.groups
        ]
        return torch.cat(parts, dim=1).unsqueeze(-1)

    def _edge_features(self, params: Tensor) -> Float[Tensor, "B num_values 1"]:
        parts = [
            self._part(self.parameters.view(params, block.weight), block).flatten(1)
            if block.weight is not None
            else params.new_full((len(params), block.num_edges), block.constant)
            for block in self.blocks
        ]
        return torch.cat(parts, dim=1).unsqueeze(-1)

    def _part(self, weight: Float[Tensor, "*B _"], block: EdgeBlock) -> Tensor:
        """The part of a parameter that a block shows."""
        if block.columns is None:
            return weight
        return weight.narrow(block.column_axis - len(block.weight.shape), *block.columns)

    def _check_shape(self, params: Tensor, shape: tuple[int, ...]) -> None:
        if params.shape != shape:
            raise NNGraphsError(
                f"make neural graphs of {self.num_params} parameters each",
                found=f"the tensor given has the shape {list(params.shape)}.",
                do="Pass one flat vector, a module or a state dict; for many use template.stack.",
            )

    def _check_values(self, params: Tensor) -> None:
        bad = (~params.isfinite()).nonzero().flatten().tolist()
        if bad:
            slot = next(s for s in self.parameters.slots if bad[0] < s.offset + s.size)
            raise NNGraphsError(
                f"make a neural graph of {self.num_params} parameters",
                found=f"{len(bad)} are NaN or infinite, the first in {slot.name}.",
                do="Leave out networks whose training diverged.",
            )

    # Graph -> parameters.

    def invert(
        self,
        graphs: NeuralGraph | NeuralGraphStack,
        *,
        base: Float[Tensor, "*B num_params"] | None = None,
    ) -> Float[Tensor, "*B num_params"]:
        """The parameters that a graph, or a stack of graphs, shows.

        For graphs as the template made them this gives back the parameters bit for bit. A tensor
        that stands in several places of the graph (tied weights) is read from the first; give
        `base`, the parameters before the graph was edited, and the changes of all places add up.
        Parameters that no place shows are taken from `base`, else they are 0. Of centred kernels
        in a stack, the middles are read.

        Raises:
            NNGraphsError: the graphs are of another architecture, or a torch-geometric batch.
        """
        if isinstance(graphs, NeuralGraphStack):
            graphs = graphs.with_own_kernels()
        nodes, edges = graphs.node_features, graphs.edge_features
        self._check_graphs(nodes, edges)
        parts = [self._read(slot, nodes, edges, base) for slot in self.parameters.slots]
        return torch.cat(parts, dim=-1)

    def _read(
        self, slot: ParameterSlot, nodes: Tensor, edges: Tensor, base: Tensor | None
    ) -> Float[Tensor, "*B slot_size"]:
        """One parameter, from the places that show it."""
        places = self.places.get(slot, [])
        before = None if base is None else base[..., slot.offset : slot.offset + slot.size]
        if all(isinstance(place, NodeGroup) or place.columns is None for place in places):
            return _combined([_shown(place, nodes, edges) for place in places], before, slot, nodes)
        return self._read_columns(slot, nodes, edges, before)

    def _read_columns(
        self, slot: ParameterSlot, nodes: Tensor, edges: Tensor, before: Tensor | None
    ) -> Float[Tensor, "*B slot_size"]:
        """One parameter whose columns stand in several blocks."""
        blocks: list[EdgeBlock] = self.places[slot]
        axis = blocks[0].column_axis - len(slot.shape)
        parts = []
        for columns in sorted({block.columns for block in blocks}):
            shown = [
                _shown(block, nodes, edges).unflatten(-1, _part_shape(slot, block))
                for block in blocks
                if block.columns == columns
            ]
            old = before if before is None else before.unflatten(-1, slot.shape)
            old = old if old is None else old.narrow(axis, *columns)
            parts.append(_combined(shown, old, slot, nodes))
        return torch.cat(parts, dim=axis).flatten(-len(slot.shape))

    def _check_graphs(self, nodes: Tensor, edges: Tensor) -> None:
        found = (*nodes.shape[-2:], *edges.shape[-2:])
        if found != (self.num_nodes, 1, self.num_values, 1):
            raise NNGraphsError(
                f"read {self.num_params} parameters from graphs of {self.num_nodes} nodes and "
                f"{self.num_edges} edges with one feature each",
                found=f"there are {list(nodes.shape)} node features and {list(edges.shape)} "
                "edge features.",
                do="Use the architecture's own template, and one graph of a batch at a time "
                "(batch.to_data_list()) or a stack.",
            )

    # Kernels.

    def centred(
        self, graphs: NeuralGraph | NeuralGraphStack, kernel_size: tuple[int, ...]
    ) -> NeuralGraph | NeuralGraphStack:
        """The graphs with every kernel in the middle of one of a given size, zeros around it.

        The edge features become `[num_edges, prod(kernel_size)]`. A kernel of fewer axes lies on
        the last of them; where it cannot lie in the middle, it lies nearer the start.

        Raises:
            NNGraphsError: a kernel is larger.
        """
        if len(kernel_size) < len(self.kernel_size) or any(
            have > size
            for have, size in zip(self.kernel_size[::-1], kernel_size[::-1])  # noqa: B905
        ):
            raise NNGraphsError(
                f"centre kernels in {list(kernel_size)}",
                found=f"the largest are {list(self.kernel_size)}.",
                do="Choose at least the largest kernel of all templates of a batch.",
            )
        edges = centred_kernels(graphs.edge_features, self.blocks, kernel_size)
        if isinstance(graphs, NeuralGraphStack):
            return replace(graphs, edge_features=edges, kernel_size=kernel_size)
        centred = graphs.with_features(graphs.node_features, edges)
        centred.is_value = self.is_value(kernel_size, edges.device)
        return centred

    def cropped(
        self, graphs: NeuralGraph | NeuralGraphStack, kernel_size: tuple[int, ...]
    ) -> NeuralGraph | NeuralGraphStack:
        """The inverse of `centred`."""
        edges = cropped_kernels(graphs.edge_features, self.blocks, kernel_size)
        if isinstance(graphs, NeuralGraphStack):
            return replace(graphs, edge_features=edges, kernel_size=None)
        cropped = graphs.with_features(graphs.node_features, edges)
        cropped.is_value = None
        return cropped

    # Structure.

    def structure(
        self, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> GraphStructure:
        """Ids and edges of the graphs, on a device; constants are in float32 or, if asked, 64."""
        return self._structure(torch.device(device), dtype)

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
            self._cache[key] = _make_structure(self.groups, self.blocks).to(*key[1:])
        return self._cache[key]

    def __getstate__(self) -> dict:
        return {**vars(self), "_cache": {}}


def _make_structure(groups: tuple[NodeGroup, ...], blocks: tuple[EdgeBlock, ...]) -> GraphStructure:
    """The structure on the CPU, its constants in float64."""
    widths = torch.tensor([group.width for group in groups])

    def per_node(values: list, dtype: torch.dtype | None = None) -> Tensor:
        return torch.tensor(values, dtype=dtype).repeat_interleave(widths)

    return GraphStructure(
        edge_index=torch.cat([_block_edges(block, groups) for block in blocks], dim=1),
        layer_id=per_node(list(range(len(groups)))),
        kind_id=per_node([group.kind.value for group in groups]),
        neuron_id=torch.cat([group.first_neuron + torch.arange(group.width) for group in groups]),
        activation_id=per_node([group.activation.activation_id for group in groups]),
        activation_parameter=per_node([g.activation.parameter for g in groups], torch.float64),
        offset=per_node([group.offset for group in groups], torch.float64),
        has_bias=per_node([group.bias is not None for group in groups]),
        edge_kind_id=torch.cat(
            [torch.full((block.num_edges,), block.kind.value) for block in blocks]
        ),
        position_id=torch.cat([block.positions() for block in blocks]),
    )


def _block_edges(block: EdgeBlock, groups: tuple[NodeGroup, ...]) -> Tensor:
    source, target = block.ends()
    return torch.stack([groups[block.source].start + source, groups[block.target].start + target])


def _shown(place: NodeGroup | EdgeBlock, nodes: Tensor, edges: Tensor) -> Float[Tensor, "*B size"]:
    """The values of a place of the graph."""
    if isinstance(place, NodeGroup):
        return nodes[..., place.start : place.stop, 0]
    return edges[..., place.first_value : place.last_value, 0]


def _combined(
    shown: list[Tensor], before: Tensor | None, slot: ParameterSlot, like: Tensor
) -> Tensor:
    """What several places of the graph that show the same say of it."""
    if before is None:
        return shown[0] if shown else like.new_zeros(*like.shape[:-2], slot.size)
    if len(shown) == 1:
        return shown[0]
    return before + sum(values - before for values in shown)


def _part_shape(slot: ParameterSlot, block: EdgeBlock) -> tuple[int, ...]:
    shape = list(slot.shape)
    shape[block.column_axis] = block.columns[1]
    return tuple(shape)
