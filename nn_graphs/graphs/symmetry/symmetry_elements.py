"""Symmetries of many networks as tensors: drawn at random, applied to parameters and graphs."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parts.symmetries import ALL_KINDS, NeuronRules, Segment, SymmetryKind


@dataclass(frozen=True)
class SymmetryElement:
    """`N` symmetries of one template, one for each of `N` networks.

    Every tensor is `[N, num_nodes]`, over all neurons of the template.

    Attributes:
        order: neuron i of the new network is neuron `order[i]` of the old one.
        factor: factor on the incoming weights and bias of the old neurons.
        shift: added to the bias of the old neurons, after the factor.
        turn: +1 or -1: what the shift does to the neurons' outputs.
    """

    order: Int[Tensor, "N num_nodes"]
    factor: Float[Tensor, "N num_nodes"]
    shift: Float[Tensor, "N num_nodes"]
    turn: Float[Tensor, "N num_nodes"]

    def inverse(self) -> "SymmetryElement":
        """The symmetries that undo these."""
        back = self.order.argsort(dim=1)
        factor, shift, turn = (
            values.gather(1, self.order) for values in (self.factor, self.shift, self.turn)
        )
        return SymmetryElement(back, 1 / factor, -shift / factor, turn)


def apply_symmetries(
    template: GraphTemplate, params: Float[Tensor, "N num_params"], element: SymmetryElement
) -> Float[Tensor, "N num_params"]:
    """Parameters of the networks that compute the same functions after the symmetries."""
    return apply_to_graphs(template, template.stack(params), element).params


def apply_to_graphs(
    template: GraphTemplate, graphs: NeuralGraphStack, element: SymmetryElement
) -> NeuralGraphStack:
    """The same networks after the symmetries, as graphs whose weights and biases have changed."""
    structure, own = graphs.structure, graphs.with_own_kernels()
    order, factor, shift, turn = (
        values.to(graphs.node_features.device)
        for values in (element.order, element.factor, element.shift, element.turn)
    )
    moved = (shift * structure.has_bias).unsqueeze(-1)
    nodes = graphs.node_features * factor.unsqueeze(-1) + moved
    source, target = structure.edge_index
    outgoing = turn / factor
    change = factor[:, target] * outgoing[:, source]
    if template.is_plain:
        edge_order = _edge_order(template, order)
    else:
        change = change[:, template.edge_of_value.to(change.device)]
        edge_order = _value_order(template, order)
    edges = own.edge_features * change.unsqueeze(-1)
    changed = own.with_features(
        nodes.gather(1, order.unsqueeze(-1).expand_as(nodes)),
        edges.gather(1, edge_order.unsqueeze(-1).expand_as(edges)),
    )
    size = graphs.kernel_size
    return changed if size is None else template.centred(changed, size)


def _edge_order(
    template: GraphTemplate, order: Int[Tensor, "N num_nodes"]
) -> Int[Tensor, "N num_edges"]:
    """Which old edge each edge of the permuted graphs is."""
    parts = []
    for block in template.blocks:
        source, target = template.groups[block.source], template.groups[block.target]
        old_source = order[:, source.start : source.start + block.num_sources] - source.start
        old_target = order[:, target.start : target.start + block.num_targets] - target.start
        if block.is_dense:
            old = old_target.unsqueeze(2) * block.num_sources + old_source.unsqueeze(1)
            parts.append(block.start + old.flatten(1))
        else:
            parts.append(block.start + old_source)
    return torch.cat(parts, dim=1)


def _value_order(
    template: GraphTemplate, order: Int[Tensor, "N num_nodes"]
) -> Int[Tensor, "N num_values"]:
    """Which old value each value on the edges of the permuted graphs is."""
    parts = []
    for block in template.blocks:
        starts = template.groups[block.source].start, template.groups[block.target].start
        old = [
            order[:, start + end.to(order.device)] - start
            for start, end in zip(starts, block.ends(), strict=True)
        ]
        edges = block.edge_between(*old).unsqueeze(-1) * block.kernel_size
        values = edges + torch.arange(block.kernel_size, device=order.device)
        parts.append(block.first_value + values.flatten(1))
    return torch.cat(parts, dim=1)


def sample_symmetries(
    template: GraphTemplate,
    num_networks: int,
    *,
    kinds: Collection[SymmetryKind] = ALL_KINDS,
    generator: torch.Generator | None = None,
    max_log_scale: float = 1.0,
    max_turns: int = 2,
    dtype: torch.dtype = torch.float32,
) -> SymmetryElement:
    """Random symmetries, independent for each network, on the CPU.

    Args:
        template: the architecture.
        num_networks: `N`.
        kinds: which kinds to draw; those that an activation does not allow are left out for it.
        generator: source of randomness.
        max_log_scale: scales are exp(U(-max_log_scale, max_log_scale)).
        max_turns: phases are k pi / omega_0 with k uniform in -max_turns ... max_turns.
        dtype: of the factors and shifts.

    Raises:
        NNGraphsError: a kind is unknown.
    """
    _check_kinds(kinds)
    rules = template.neuron_rules
    symmetries = template.symmetries
    draws = [
        _draw_permutation(
            (num_networks * copies, size), allowed & set(kinds), max_log_scale, generator=generator
        )
        for size, copies, allowed in zip(
            symmetries.sizes, symmetries.num_copies, rules.allowed_kinds, strict=True
        )
    ]
    order, factor = [], []
    for group, axis in zip(template.groups, symmetries.axes, strict=True):
        here, scale = _lay_out(axis, draws, num_networks)
        order.append(group.start + here)
        factor.append(scale)
    turns = _draw_turns(
        rules, num_networks, max_turns if "phase" in kinds else 0, generator=generator
    )
    return SymmetryElement(
        order=torch.cat(order, dim=1),
        factor=torch.cat(factor, dim=1).to(dtype),
        shift=(turns.double() * math.pi / rules.omega_0).to(dtype),
        turn=(1 - 2 * (turns % 2)).to(dtype),
    )


def _lay_out(
    axis: Sequence[Segment], draws: Sequence[tuple[Tensor, Tensor]], num_blocks: int
) -> tuple[Int[Tensor, "num_blocks width"], Float[Tensor, "num_blocks width"]]:
    """Order and factors of the neurons on an axis, or on one inside each of many blocks."""
    order, factor, start = [], [], 0
    for segment in axis:
        here = torch.arange(segment.length).expand(num_blocks, -1)
        scale = torch.ones(num_blocks, segment.length)
        if segment.permutation is not None:
            here, scale = (
                drawn.repeat_interleave(num_blocks // len(drawn), dim=0)
                for drawn in draws[segment.permutation]
            )
        if segment.item_width > 1:
            here, scale = _lay_out_items(segment, draws, here, scale)
        order.append(start + here)
        factor.append(scale)
        start += segment.width
    return torch.cat(order, dim=1), torch.cat(factor, dim=1)


def _lay_out_items(
    segment: Segment, draws: Sequence[tuple[Tensor, Tensor]], order: Tensor, factor: Tensor
) -> tuple[Tensor, Tensor]:
    """Order and factors of neurons, from those of the items `[num_blocks, length]` they lie in."""
    inside = torch.arange(segment.item_width)
    factor = factor.unsqueeze(-1).expand(-1, -1, segment.item_width)
    if segment.inner:
        inside, own = _lay_out(segment.inner, draws, order.numel())
        inside = inside.unflatten(0, order.shape)
        factor = own.unflatten(0, order.shape)
    return (order.unsqueeze(-1) * segment.item_width + inside).flatten(1), factor.flatten(1)


def _check_kinds(kinds: Collection[SymmetryKind]) -> None:
    unknown = sorted(set(kinds) - set(ALL_KINDS))
    if unknown:
        raise NNGraphsError(
            f"sample symmetries of the kinds {', '.join(sorted(kinds))}",
            found=f"{', '.join(unknown)} is unknown.",
            do=f"Choose from {', '.join(ALL_KINDS)}.",
        )


def _draw_permutation(
    shape: tuple[int, int],
    kinds: set[SymmetryKind],
    max_log_scale: float,
    *,
    generator: torch.Generator | None,
) -> tuple[Int[Tensor, "N size"], Float[Tensor, "N size"]]:
    """Order and factor of the neurons that share one permutation, for `N` networks."""
    order = torch.arange(shape[1]).expand(shape)
    factor = torch.ones(shape)
    if "permutation" in kinds:
        order = torch.rand(shape, generator=generator).argsort(dim=1)
    if "sign" in kinds:
        factor = 2.0 * torch.randint(2, shape, generator=generator) - 1
    if "scale" in kinds:
        log_scale = 2 * torch.rand(shape, generator=generator) - 1
        factor = factor * (max_log_scale * log_scale).exp()
    return order, factor


def _draw_turns(
    rules: NeuronRules, num_networks: int, max_turns: int, *, generator: torch.Generator | None
) -> Int[Tensor, "N num_nodes"]:
    """By how many half periods each neuron's phase moves."""
    shape = (num_networks, len(rules.allows_turns))
    turns = torch.randint(-max_turns, max_turns + 1, shape, generator=generator)
    return torch.where(rules.allows_odd_turns, turns, turns - turns.fmod(2)) * rules.allows_turns
