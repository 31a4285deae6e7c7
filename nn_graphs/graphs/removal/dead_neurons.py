"""Neurons that a network can do without: constant ones, and those that nothing reads.

Whole items are found, for what is cut together must be dead together. What a constant neuron adds
to those that read it goes into their biases or, where they have none, into the running means of the
norm behind them; where there is neither, the neuron stays.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock, EdgeKind
from nn_graphs.graphs.parts.group_rules import Normalization, Product, Sum
from nn_graphs.graphs.parts.node_groups import NodeGroup
from nn_graphs.graphs.removal.constant_neurons import (
    BlockEdges,
    block_edges,
    constant_neurons,
    keeps_constants,
)
from nn_graphs.graphs.removal.neuron_items import NeuronItems
from nn_graphs.networks.parameters import ParameterSlot

APART = ("batch", "instance")  # norms that see every channel alone


@dataclass(frozen=True)
class DeadNeurons:
    """Items to cut, and by how much the sums of those that read them change: `[num_nodes]`."""

    items: frozenset[int]
    shift: Float[Tensor, "num_nodes"]


def find_dead(graph: NeuralGraphStack, gone: Collection[int] = ()) -> DeadNeurons:
    """The dead items of one network, whose graph is the only one of the stack.

    Every group of neurons keeps one, and the blocks of a grouped convolution keep as many each.

    Args:
        graph: of the network.
        gone: items that are dead already, and are among those that are found.
    """
    items = NeuronItems(graph.template)
    search = _Search(graph, items, gone)
    kept: set[int] = set()
    while True:
        dead = search.dead_items(kept)
        emptied = _emptied_groups(items, dead)
        if not emptied:
            break
        kept |= {_any_item(items, group, dead - set(gone)) for group in emptied}
    return DeadNeurons(frozenset(dead), search.shift(items.are_cut(dead)))


def is_apart(group: NodeGroup) -> bool:
    """Whether a neuron of a group computes its value without a look at its neighbours."""
    rule = group.rule
    is_norm = isinstance(rule, Normalization) and rule.kind in APART
    return is_norm or isinstance(rule, Sum | Product)


def are_shown_once(template: GraphTemplate, slot: ParameterSlot | None) -> bool:
    """Whether no element of a parameter stands in two places, so that it may be changed there."""
    if slot is None:
        return False
    places = template.places[slot]
    columns = [place.columns if isinstance(place, EdgeBlock) else None for place in places]
    if len(places) == 1 or None in columns:
        return len(places) == 1
    ends = sorted((first, first + number) for first, number in columns)
    return all(stop <= start for (_, stop), (start, _) in pairwise(ends))


class _Search:
    """Which edges can go, and with them which items."""

    def __init__(self, graph: NeuralGraphStack, items: NeuronItems, gone: Collection[int]):
        self.items, self.gone, template = items, set(gone), graph.template
        constants = constant_neurons(graph)
        folds = _takes_shifts(template)
        self.cannot = torch.zeros(template.num_nodes, dtype=torch.bool)  # be cut as dead
        for group in template.groups:
            self.cannot[group.start : group.stop] = not is_apart(group)
        self.edges: list[tuple[BlockEdges, Tensor, Tensor]] = []
        for block in template.blocks:
            edges = block_edges(graph, block)
            if block.is_bundle:
                self.cannot[edges.source] = self.cannot[edges.target] = True
                continue
            value = constants.value[edges.source]
            message = torch.where(edges.is_zero, 0, value * edges.total)
            keeps = keeps_constants(block, value) & constants.is_constant[edges.source]
            is_sum = isinstance(template.groups[block.target].rule, Sum) and block.is_dense
            can_go = is_sum & (edges.is_zero | (keeps & ((message == 0) | folds[edges.target])))
            self.edges.append((edges, can_go, message))

    def dead_items(self, kept: set[int]) -> set[int]:
        """All items that can be cut, but for those that shall be kept."""
        found = set(self.gone)
        while True:
            cut = self.items.are_cut(found)
            more = self._dead_beside(torch.from_numpy(cut), kept)
            more = _as_many_each(self.items, more | found, chosen_before=found)
            if more <= found:
                return found
            found |= more

    def _dead_beside(self, cut: Bool[Tensor, "num_nodes"], kept: set[int]) -> set[int]:
        """Items whose edges can all go, where those to neurons that are cut do."""
        dead: set[int] = set()
        for level in self.items.levels:
            own = torch.from_numpy(level)
            bad = torch.zeros(self.items.num_items + 2, dtype=torch.bool)  # -1, -2 at the end
            bad[own[self.cannot]] = True
            for edges, can_go, _ in self.edges:
                source, target = own[edges.source], own[edges.target]
                stays = ~can_go & ~cut[edges.target] & (source != target)
                bad[source[stays]] = True
            bad[torch.tensor(sorted(kept), dtype=torch.long)] = True
            here = np.unique(level[level >= 0])
            dead |= set(here[~bad[torch.from_numpy(here)].numpy()].tolist())
        return dead

    def shift(self, cut: np.ndarray) -> Float[Tensor, "num_nodes"]:
        """What neurons that are cut give to those that stay."""
        gone = torch.from_numpy(cut)
        shift = self.edges[0][2].new_zeros(len(gone)) if self.edges else torch.zeros(len(gone))
        for edges, _, message in self.edges:
            counts = gone[edges.source] & ~gone[edges.target]
            shift = shift.index_add(0, edges.target[counts], message[counts])
        return shift


def _as_many_each(items: NeuronItems, found: set[int], *, chosen_before: set[int]) -> set[int]:
    """Of items inside of blocks, as many of every block that stays."""
    in_order = sorted(found, key=lambda item: (item not in chosen_before, item))
    numbers = np.array(in_order, dtype=np.int64)
    chosen: set[int] = set()
    cut = items.are_cut(_outer(items, numbers))
    for permutation in np.unique(items.permutation[numbers]).tolist():
        own = numbers[items.permutation[numbers] == permutation]
        copies = np.unique(items.copy[items.permutation == permutation])
        if len(copies) > 1:
            gone = _gone_copies(items, permutation, cut)
            counts = [int((items.copy[own] == c).sum()) for c in copies if c not in gone]
            most = min(counts, default=0)
            own = np.concatenate([own[items.copy[own] == copy][:most] for copy in copies])
        chosen |= set(own.tolist())
    return chosen


def _outer(items: NeuronItems, numbers: np.ndarray) -> list[int]:
    """Of some items, those that lie in no block."""
    outermost = np.unique(items.levels[0])
    return numbers[np.isin(numbers, outermost)].tolist()


def _gone_copies(items: NeuronItems, permutation: int, cut: np.ndarray) -> set[int]:
    """Copies of a permutation all of whose neurons are cut with the blocks around them."""
    gone: set[int] = set()
    for copy in np.unique(items.copy[items.permutation == permutation]).tolist():
        own = np.flatnonzero((items.permutation == permutation) & (items.copy == copy))
        if cut[np.isin(items.levels, own).any(axis=0)].all():
            gone.add(copy)
    return gone


def _emptied_groups(items: NeuronItems, dead: set[int]) -> list[NodeGroup]:
    cut = items.are_cut(dead)
    groups = (group for group in items.template.groups if group.width)
    return [group for group in groups if cut[group.start : group.stop].all()]


def _any_item(items: NeuronItems, group: NodeGroup, dead: set[int]) -> int:
    """The first of the dead items in a group, of those around it the outermost."""
    here = items.levels[:, group.start : group.stop].T.ravel().tolist()
    return next(item for item in here if item in dead)


def _takes_shifts(template: GraphTemplate) -> Bool[Tensor, "num_nodes"]:
    """Which neurons can take what is constant in their sums."""
    takes = torch.zeros(template.num_nodes, dtype=torch.bool)
    for number, group in enumerate(template.groups):
        has_bias = are_shown_once(template, group.bias)
        takes[group.start : group.stop] = has_bias or bool(mean_blocks(template, number))
    return takes


def mean_blocks(template: GraphTemplate, number: int) -> Sequence[EdgeBlock]:
    """The running means behind a group without biases that only norms read, to take its shifts."""
    group, blocks = template.groups[number], template.blocks_from(number)
    is_bare = group.bias is None and group.activation.name == "none" and group.offset == 0
    readers = {block.target for block in blocks}
    if not is_bare or not blocks or any(block.steps for block in blocks):
        return ()
    means = [block for block in blocks if block.kind is EdgeKind.MEAN]
    are_alone = all(are_shown_once(template, block.weight) for block in means)
    covers = {reader: sum(b.num_sources for b in means if b.target == reader) for reader in readers}
    is_covered = all(width == group.width for width in covers.values())
    return means if are_alone and is_covered else ()
