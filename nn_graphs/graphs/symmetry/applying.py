"""Symmetries of many networks as tensors, and what they do to parameters and graphs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from nn_graphs.graphs.neural_graph import NeuralGraphStack
    from nn_graphs.graphs.template import GraphTemplate


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
    template: "GraphTemplate", params: Float[Tensor, "N num_params"], element: SymmetryElement
) -> Float[Tensor, "N num_params"]:
    """Parameters of the networks that compute the same functions after the symmetries."""
    moved = apply_to_graphs(template, template.stack(params), element).params
    return torch.where(template.is_shown.to(params.device), moved, params)


def apply_to_graphs(
    template: "GraphTemplate", graphs: "NeuralGraphStack", element: SymmetryElement
) -> "NeuralGraphStack":
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
    template: "GraphTemplate", order: Int[Tensor, "N num_nodes"]
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
    template: "GraphTemplate", order: Int[Tensor, "N num_nodes"]
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
