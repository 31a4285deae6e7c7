"""Which neurons put out the same whatever the input is, by the weights alone.

A neuron without incoming weights is constant, and so is one that only constant ones reach. Where
zeros are padded, or values change on their way in a way that is not known here, a constant other
than 0 is not followed, so that what is found is never wrong.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.group_rules import Normalization, OneHot, Product, Sum
from nn_graphs.graphs.parts.node_groups import NeuronKind, NodeGroup
from nn_graphs.graphs.parts.steps import Reshape, Step

KEEP_CONSTANTS = ("max_pool", "adaptive_max_pool", "adaptive_avg_pool", "upsample_nearest", "mean")


@dataclass(frozen=True)
class Constants:
    """Of all neurons, whether they are constant, and what they put out then (else 0)."""

    is_constant: Bool[Tensor, "num_nodes"]
    value: Float[Tensor, "num_nodes"]


@dataclass(frozen=True)
class BlockEdges:
    """The edges of a block as a list.

    Attributes:
        source, target: neurons of the template.
        total: the sum of an edge's values.
        is_zero: whether all of them are 0.
    """

    source: Int[Tensor, "num_edges"]
    target: Int[Tensor, "num_edges"]
    total: Float[Tensor, "num_edges"]
    is_zero: Bool[Tensor, "num_edges"]


def block_edges(graph: NeuralGraphStack, block: EdgeBlock) -> BlockEdges:
    """The edges of a block in the one graph of a stack, whose kernels are of their own sizes."""
    template = graph.template
    source, target = block.ends()
    values = graph.edge_features[0, block.first_value : block.last_value, 0]
    kernels = values.detach().unflatten(0, (block.num_edges, block.kernel_size))
    return BlockEdges(
        template.groups[block.source].start + source,
        template.groups[block.target].start + target,
        kernels.sum(1),
        (kernels == 0).all(1),
    )


def constant_neurons(graph: NeuralGraphStack) -> Constants:
    """The constant neurons of one network, whose graph is the only one of the stack."""
    template = graph.template
    found = Constants(
        torch.zeros(template.num_nodes, dtype=torch.bool),
        torch.zeros(template.num_nodes, dtype=graph.node_features.dtype),
    )
    for number, group in enumerate(template.groups):
        if group.kind is not NeuronKind.INPUT and not isinstance(group.rule, OneHot):
            blocks = [block for block in template.blocks if block.target == number]
            _find_in_group(graph, group, blocks, found)
    return found


def _find_in_group(
    graph: NeuralGraphStack, group: NodeGroup, blocks: list[EdgeBlock], found: Constants
) -> None:
    here = slice(group.start, group.stop)
    bias = graph.node_features[0, here, 0].detach()
    arguments = [
        _arriving(graph, group, [b for b in blocks if b.argument == number], found)
        for number in sorted({block.argument for block in blocks if _is_message(block)})
    ]
    if isinstance(group.rule, Sum) and len(arguments) <= 1:
        is_constant, value = arguments[0] if arguments else (torch.ones_like(bias) > 0, 0 * bias)
    elif isinstance(group.rule, Product) and len(arguments) == 2:
        (is_first, first), (is_second, second) = arguments
        has_zero = (is_first & (first == 0)) | (is_second & (second == 0))
        is_constant, value = has_zero | (is_first & is_second), first * second
        value = torch.where(has_zero, 0, value)
    elif isinstance(group.rule, Normalization) and len(arguments) == 1:
        is_constant, value = _normalized(graph, group, blocks, arguments[0])
    else:
        return
    activated = group.activation(value + bias) + group.offset
    found.is_constant[here] = is_constant & activated.isfinite()
    found.value[here] = torch.where(found.is_constant[here], activated, 0)


def _is_message(block: EdgeBlock) -> bool:
    return block.kind.is_carrier or block.kind is EdgeKind.GAIN


def _arriving(
    graph: NeuralGraphStack, group: NodeGroup, blocks: list[EdgeBlock], found: Constants
) -> tuple[Tensor, Tensor]:
    """What reaches every neuron of a group, where it is constant; gains of norms left out."""
    varies = torch.zeros(group.width, dtype=torch.bool)
    total = graph.node_features.new_zeros(group.width)
    is_norm = isinstance(group.rule, Normalization)
    for block in filter(_is_message, blocks):
        edges = block_edges(graph, block)
        keeps = keeps_constants(block, found.value[edges.source])
        is_known = found.is_constant[edges.source] & keeps
        factor = torch.ones_like(edges.total) if is_norm else edges.total
        is_zero = torch.zeros_like(edges.is_zero) if is_norm else edges.is_zero
        message = torch.where(is_known & ~is_zero, found.value[edges.source] * factor, 0)
        place = edges.target - group.start
        total = total.index_add(0, place, message)
        varies[place[~is_known & ~is_zero]] = True
    return ~varies, total


def keeps_constants(
    block: EdgeBlock, values: Float[Tensor, "num_edges"]
) -> Bool[Tensor, "num_edges"]:
    """Whether constants come through a block as themselves, times the sum of an edge's values."""
    convolution = block.convolution
    keeps_all = all(_keeps(step) for step in block.steps)
    if convolution is not None:
        padding = convolution.padding
        is_padded = padding != "valid" if isinstance(padding, str) else any(padding)
        keeps_all = keeps_all and not is_padded and not convolution.is_transposed
    keeps_zeros = all(step.is_homogeneous or step.is_odd for step in block.steps)
    return torch.full_like(values, keeps_all) > 0 if keeps_all else (values == 0) & keeps_zeros


def _keeps(step: object) -> bool:
    if isinstance(step, Reshape):
        return True
    if not isinstance(step, Step):
        return False
    return step.operation.split(".")[1].startswith(KEEP_CONSTANTS)


def _normalized(
    graph: NeuralGraphStack,
    group: NodeGroup,
    blocks: list[EdgeBlock],
    arrived: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Constants behind a norm: where its gain is 0, and behind running statistics."""
    is_constant, value = arrived
    statistics = {kind: torch.zeros(group.width, dtype=value.dtype) for kind in EdgeKind}
    kinds = {block.kind for block in blocks}
    for block in (b for b in blocks if not b.kind.is_carrier):
        edges = block_edges(graph, block)
        statistics[block.kind][edges.target - group.start] += edges.total
    gain = statistics[EdgeKind.GAIN] if EdgeKind.GAIN in kinds else torch.ones_like(value)
    if EdgeKind.VARIANCE not in kinds:
        return gain == 0, torch.zeros_like(value)
    scale = gain * (statistics[EdgeKind.VARIANCE] + group.rule.eps).rsqrt()
    normal = torch.where(gain == 0, 0, (value - statistics[EdgeKind.MEAN]) * scale)
    return is_constant | (gain == 0), normal
