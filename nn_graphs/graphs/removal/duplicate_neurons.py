"""Neurons that compute the same as others, and the edges of what is merged.

Two items are duplicates where all that reaches them is the same: the same weights from the same
neurons, the same biases, gains and statistics. What reads both then reads one, with the sum of
their weights. Neurons inside of blocks are left out.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.group_rules import Sum
from nn_graphs.graphs.removal.dead_neurons import are_shown_once, is_apart
from nn_graphs.graphs.removal.neuron_items import NeuronItems

Numbers = np.ndarray


def find_duplicates(graph: NeuralGraphStack, gone: Collection[int] = ()) -> dict[int, int]:
    """For every item that another one makes superfluous, that other one, the first of its kind.

    Items that are `gone` are no duplicates.
    """
    items = NeuronItems(graph.template)
    cannot = ~can_be_merged(items)
    found: dict[int, int] = {}
    for permutation in range(len(graph.template.symmetries.sizes)):
        members = members_of(items, permutation)
        if members is None or len(members) < 2 or cannot[members[:, 0]].any():
            continue
        if cannot[members].any():
            continue
        rows = np.concatenate(_incoming(graph, items, members), axis=1) + 0.0  # no -0
        numbers = items.plain[members[:, 0]]
        stays = ~np.isin(numbers, list(gone))
        rows, numbers = rows[stays], numbers[stays]
        _, first, kind = np.unique(rows, axis=0, return_index=True, return_inverse=True)
        for place, original in enumerate(first[kind.ravel()].tolist()):
            if place != original:
                found[int(numbers[place])] = int(numbers[original])
    return found


def members_of(items: NeuronItems, permutation: int) -> Numbers | None:
    """`[size, neurons of an item]`: neurons of items in the same order; None inside of blocks."""
    chosen = np.flatnonzero(items.permutation == permutation)
    neurons = np.flatnonzero(np.isin(items.plain, chosen))
    order = np.argsort(items.plain[neurons], kind="stable")
    counts = np.bincount(items.plain[neurons] - chosen[0], minlength=len(chosen))
    if len(neurons) == 0 or (counts != counts[0]).any():
        return None
    return neurons[order].reshape(len(chosen), -1)


def can_be_merged(items: NeuronItems) -> Numbers:
    """`[num_nodes]`, whether what reads a neuron reads it alone, with weights of its own."""
    template = items.template
    can = np.zeros(template.num_nodes, dtype=bool)
    for group in template.groups:
        can[group.start : group.stop] = is_apart(group)
    for block in template.blocks:
        source, target = _ends(items, block)
        if block.is_bundle:
            can[source] = can[target] = False
            continue
        is_sum = isinstance(template.groups[block.target].rule, Sum)
        is_read_alone = block.is_dense and block.num_groups == 1 and is_sum
        leaves = items.plain[source] != items.plain[target]
        if not is_read_alone or not are_shown_once(template, block.weight):
            can[source[leaves]] = False
    return can


def _ends(items: NeuronItems, block: EdgeBlock) -> tuple[Numbers, Numbers]:
    groups = items.template.groups
    source, target = (end.numpy() for end in block.ends())
    return groups[block.source].start + source, groups[block.target].start + target


def _incoming(graph: NeuralGraphStack, items: NeuronItems, members: Numbers) -> list[Numbers]:
    """All that reaches each item, `[size, ...]`, as rows that are equal for duplicates."""
    template = items.template
    parts = [graph.node_features[0, :, 0].double().numpy()[members]]
    place = np.full(template.num_nodes, -1)
    place[members] = np.arange(len(members))[:, None]
    column = np.full(template.num_nodes, -1)
    column[members] = np.arange(members.shape[1])
    for block in template.blocks:
        source, target = _ends(items, block)
        reached = np.flatnonzero(place[target] >= 0)
        if not len(reached):
            continue
        values = graph.edge_features[0, block.first_value : block.last_value, 0].double().numpy()
        values = values.reshape(block.num_edges, -1)[reached]
        source, target = source[reached], target[reached]
        is_inside = items.plain[source] == items.plain[target]
        seen_from = np.where(is_inside, -1 - column[source], source)
        position = block.positions().numpy()[reached] if block.is_dense else 0 * source
        order = np.lexsort((position, seen_from, column[target], place[target]))
        told = np.concatenate([seen_from[:, None], column[target][:, None], values], axis=1)
        counts = np.bincount(place[target], minlength=len(members))
        if (counts != counts[0]).any():  # no two are alike then
            return [np.arange(len(members), dtype=float)[:, None]]
        parts.append(told[order].reshape(len(members), -1))
    return parts


def merged(graph: NeuralGraphStack, representative: Int[Tensor, "num_nodes"]) -> NeuralGraphStack:
    """What reads several neurons reads their representative, with the sum of the weights."""
    edges = graph.edge_features.clone()
    for block in graph.template.blocks:
        if not block.is_dense or block.num_groups > 1:
            continue
        start = graph.template.groups[block.source].start
        source, target = block.ends()
        goes_to = representative[start + source] - start
        moves = goes_to != source
        if moves.any():
            own = block.edge_between(goes_to, target)[moves]
            values = edges[0, block.first_value : block.last_value, 0]
            kernels = values.unflatten(0, (block.num_edges, block.kernel_size))
            kernels.index_add_(0, own, kernels[moves])
    return graph.with_features(graph.node_features, edges)


def without(graph: NeuralGraphStack, is_cut: Bool[Tensor, "num_nodes"]) -> NeuralGraphStack:
    """The graph with zeros on neurons that are cut, and on all edges from and to them."""
    template = graph.template
    source, target = template.structure().edge_index
    edges_go = (is_cut[source] | is_cut[target])[template.edge_of_value]
    return graph.with_features(
        graph.node_features.masked_fill(is_cut[None, :, None], 0.0),
        graph.edge_features.masked_fill(edges_go[None, :, None], 0.0),
    )


def averaged(
    graph: NeuralGraphStack, items: NeuronItems, sets: Sequence[Sequence[int]]
) -> NeuralGraphStack:
    """The first item of each set takes the mean of what reaches all of them.

    Raises:
        NNGraphsError: a weight that reaches them stands in several places.
    """
    number = np.full(items.num_items, -1)
    first = np.arange(items.num_items)
    size = np.ones(items.num_items)
    for own in sets:
        number[list(own)], first[list(own)], size[list(own)] = 1, own[0], len(own)
    representative = representatives(items, dict(enumerate(first.tolist())))
    share = np.ones(items.template.num_nodes)
    is_in = (items.plain >= 0) & (number[items.plain] > 0)
    share[is_in] = 1 / size[items.plain[is_in]]
    nodes, edges = graph.node_features.clone(), graph.edge_features.clone()
    shares, is_in = torch.from_numpy(share).to(nodes), torch.from_numpy(is_in)
    means = torch.zeros_like(nodes[0, :, 0]).index_add(0, representative, nodes[0, :, 0] * shares)
    nodes[0, is_in, 0] = means[is_in]
    for block in graph.template.blocks:
        _average_block(graph, block, edges, representative, shares, is_in)
    return graph.with_features(nodes, edges)


def _average_block(
    graph: NeuralGraphStack,
    block: EdgeBlock,
    edges: Tensor,
    representative: Tensor,
    shares: Tensor,
    is_in: Tensor,
) -> None:
    groups = graph.template.groups
    starts = groups[block.source].start, groups[block.target].start
    source, target = block.ends()
    reached = is_in[starts[1] + target]
    if block.weight is None or not reached.any():
        return
    if not are_shown_once(graph.template, block.weight):
        raise NNGraphsError(
            "merge neurons",
            found=f"{block.weight.name}, which reaches them, is used in several places.",
            do="Merge duplicates alone (incoming='first').",
        )
    new_source = source
    if not block.is_dense or block.num_groups > 1:  # each of them reads its own channel
        new_source = representative[starts[0] + source] - starts[0]
    own = block.edge_between(new_source, representative[starts[1] + target] - starts[1])
    values = edges[0, block.first_value : block.last_value, 0]
    kernels = values.unflatten(0, (block.num_edges, block.kernel_size))
    scaled = kernels * shares[starts[1] + target].unsqueeze(1)
    means = torch.zeros_like(kernels).index_add(0, own[reached], scaled[reached])
    changed = own[reached].unique()
    kernels[changed] = means[changed]


def representatives(items: NeuronItems, original: Mapping[int, int]) -> Int[Tensor, "num_nodes"]:
    """For every neuron, the one that stands for it where its item is merged into another."""
    neurons = np.arange(items.template.num_nodes)
    for permutation in np.unique(items.permutation[list(original)] if original else []).tolist():
        members = members_of(items, int(permutation))
        if members is None:
            continue
        numbers = items.plain[members[:, 0]]
        first = [original.get(number, number) for number in numbers.tolist()]
        neurons[members] = members[np.searchsorted(numbers, first)]
    return torch.from_numpy(neurons)
