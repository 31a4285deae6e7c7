"""Graph templates: one architecture compiled once, so that any weights become a graph by copying.

A template knows the groups of neurons, the blocks of edges between them, and which slice of the
flat parameter vector each of them shows. Edges are ordered by block; within a dense block the edge
from source neuron i to target neuron o is number `o * num_sources + i`, torch's `[out, in]`, so a
block's features are a contiguous slice of the parameters and back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import GraphStructure, NeuralGraph, NeuralGraphStack
from nn_graphs.graphs.symmetry import Symmetries
from nn_graphs.graphs.topology import LayeredTopology
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot


class NeuronKind(Enum):
    """What a neuron is to its network; the value is its `kind_id`."""

    INPUT = 0
    HIDDEN = 1
    OUTPUT = 2


@dataclass(frozen=True)
class NodeGroup:
    """Neurons `start ... start + width - 1`: one layer, computed together.

    `first_neuron` is the `neuron_id` of the first among its graph's inputs, hidden neurons or
    outputs.
    """

    start: int
    width: int
    kind: NeuronKind
    first_neuron: int
    activation: Activation
    offset: float
    bias: ParameterSlot | None

    @property
    def stop(self) -> int:
        return self.start + self.width


@dataclass(frozen=True)
class EdgeBlock:
    """Edges `start ... start + num_edges - 1` from the group `source` to the group `target`.

    With a weight, every one of the first `num_sources` neurons of the source is joined to every one
    of the first `num_targets` of the target; without, neuron i is joined to neuron i by an edge of
    the value `constant`.
    """

    start: int
    source: int
    target: int
    num_sources: int
    num_targets: int
    weight: ParameterSlot | None
    constant: float

    @property
    def is_dense(self) -> bool:
        return self.weight is not None

    @property
    def num_edges(self) -> int:
        return self.num_sources * self.num_targets if self.is_dense else self.num_sources

    @property
    def stop(self) -> int:
        return self.start + self.num_edges


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

    @property
    def num_nodes(self) -> int:
        return self.groups[-1].stop

    @property
    def num_edges(self) -> int:
        return self.blocks[-1].stop if self.blocks else 0

    @property
    def num_params(self) -> int:
        return self.parameters.num_params

    def num_neurons(self, kind: NeuronKind) -> int:
        """How many inputs, hidden neurons or outputs there are."""
        return sum(group.width for group in self.groups if group.kind is kind)

    @property
    def num_hidden_groups(self) -> int:
        return sum(group.kind is NeuronKind.HIDDEN for group in self.groups)

    def blocks_from(self, group: int) -> list[EdgeBlock]:
        """The blocks of edges that leave a group."""
        return [block for block in self.blocks if block.source == group]

    # Parameters -> graph.

    def __call__(self, source: Tensor | nn.Module | Mapping[str, Tensor]) -> NeuralGraph:
        """The neural graph of one network: a flat vector `[num_params]`, a module or a state dict.

        Raises:
            NNGraphsError: the tensors do not fit this architecture, or hold NaN or infinity.
        """
        params = source if isinstance(source, Tensor) else self.parameters.flatten(source)
        self._check(params)
        return self.stack(params.unsqueeze(0))[0]

    def stack(self, params: Float[Tensor, "B num_params"]) -> NeuralGraphStack:
        """The neural graphs of `B` networks; differentiable, and without a look at the values."""
        return NeuralGraphStack(self, self._node_features(params), self._edge_features(params))

    def _node_features(self, params: Tensor) -> Float[Tensor, "B num_nodes 1"]:
        parts = [
            self.parameters.view(params, group.bias)
            if group.bias is not None
            else params.new_zeros(len(params), group.width)
            for group in self.groups
        ]
        return torch.cat(parts, dim=1).unsqueeze(-1)

    def _edge_features(self, params: Tensor) -> Float[Tensor, "B num_edges 1"]:
        parts = [
            self.parameters.view(params, block.weight).flatten(1)
            if block.weight is not None
            else params.new_full((len(params), block.num_edges), block.constant)
            for block in self.blocks
        ]
        return torch.cat(parts, dim=1).unsqueeze(-1)

    def _check(self, params: Tensor) -> None:
        asked = f"make a neural graph of {self.num_params} parameters"
        if params.shape != (self.num_params,):
            raise NNGraphsError(
                asked,
                found=f"the tensor given has the shape {list(params.shape)}.",
                do="Pass one flat vector, a module or a state dict; for many use template.stack.",
            )
        num_bad = int((~params.isfinite()).sum())
        if num_bad:
            first = int((~params.isfinite()).nonzero()[0])
            slot = next(s for s in self.parameters.slots if first < s.offset + s.size)
            raise NNGraphsError(
                asked,
                found=f"{num_bad} are NaN or infinite, the first in {slot.name}.",
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
        Parameters that no place shows are taken from `base`, else they are 0.
        """
        nodes = graphs.node_features.squeeze(-1)
        edges = graphs.edge_features.squeeze(-1)
        shown: dict[ParameterSlot, list[Tensor]] = {}
        for group in self.groups:
            if group.bias is not None:
                values = nodes[..., group.start : group.stop]
                shown.setdefault(group.bias, []).append(values)
        for block in self.blocks:
            if block.weight is not None:
                values = edges[..., block.start : block.stop]
                shown.setdefault(block.weight, []).append(values)
        parts = [self._merge(slot, shown.get(slot, []), base, like=nodes) for slot in self._slots]
        return torch.cat(parts, dim=-1)

    @property
    def _slots(self) -> tuple[ParameterSlot, ...]:
        return self.parameters.slots

    @staticmethod
    def _merge(
        slot: ParameterSlot, places: list[Tensor], base: Tensor | None, *, like: Tensor
    ) -> Tensor:
        if base is None:
            return places[0] if places else like.new_zeros(*like.shape[:-1], slot.size)
        before = base[..., slot.offset : slot.offset + slot.size]
        if len(places) == 1:
            return places[0]
        return before + sum(place - before for place in places)

    # Structure.

    def structure(self, device: torch.device | str = "cpu") -> GraphStructure:
        """Ids and edges of the graphs, on a device."""
        return self._on_device(device)[0]

    def topology(self, device: torch.device | str = "cpu") -> LayeredTopology:
        """Message passing over the blocks of this template."""
        return self._on_device(device)[1]

    def _on_device(self, device: torch.device | str) -> tuple[GraphStructure, LayeredTopology]:
        key = torch.device(device)
        if key not in self._cache:
            structure = _make_structure(self.groups, self.blocks).to(key)
            topology = LayeredTopology(self.groups, self.blocks, structure)
            self._cache[key] = (structure, topology)
        return self._cache[key]

    @cached_property
    def _cache(self) -> dict[torch.device, tuple[GraphStructure, LayeredTopology]]:
        return {}

    def __getstate__(self) -> dict:
        return {name: value for name, value in vars(self).items() if name != "_cache"}


def _make_structure(groups: tuple[NodeGroup, ...], blocks: tuple[EdgeBlock, ...]) -> GraphStructure:
    widths = torch.tensor([group.width for group in groups])

    def per_node(values: list) -> Tensor:
        return torch.tensor(values).repeat_interleave(widths)

    return GraphStructure(
        edge_index=torch.cat([_block_edges(block, groups) for block in blocks], dim=1),
        layer_id=per_node(list(range(len(groups)))),
        kind_id=per_node([group.kind.value for group in groups]),
        neuron_id=torch.cat([group.first_neuron + torch.arange(group.width) for group in groups]),
        activation_id=per_node([group.activation.activation_id for group in groups]),
        activation_parameter=per_node([float(group.activation.parameter) for group in groups]),
        offset=per_node([float(group.offset) for group in groups]),
        edge_kind_id=torch.cat(
            [torch.full((block.num_edges,), int(not block.is_dense)) for block in blocks]
        ),
    )


def _block_edges(block: EdgeBlock, groups: tuple[NodeGroup, ...]) -> Tensor:
    sources = groups[block.source].start + torch.arange(block.num_sources)
    targets = groups[block.target].start + torch.arange(block.num_targets)
    if not block.is_dense:
        return torch.stack([sources, targets])
    return torch.stack(
        [sources.repeat(block.num_targets), targets.repeat_interleave(block.num_sources)]
    )
