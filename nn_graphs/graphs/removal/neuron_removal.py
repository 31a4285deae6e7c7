"""Removes, merges and widens neurons of any module that traces: a plain module of another size.

Which axes of which parameters go together is read off the symmetries of the module's graph: what
is permuted together is cut together, through skips, joins, flattening, norms and groups. (DepGraph
of Fang et al., CVPR 2023, finds such groups from rules per layer; torch-pruning is its code.)
Neurons are named by the rows of the weight, or bias, of the layer that puts them out.

The new module is a copy with other parameters: of the same classes, its layers' sizes right, its
state dict of plain tensors, without masks or hooks. It takes what the old one took.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parts.edge_blocks import EdgeKind
from nn_graphs.graphs.removal.dead_neurons import DeadNeurons, find_dead, mean_blocks
from nn_graphs.graphs.removal.duplicate_neurons import (
    averaged,
    can_be_merged,
    find_duplicates,
    merged,
    representatives,
    without,
)
from nn_graphs.graphs.removal.neuron_items import NeuronItems
from nn_graphs.graphs.removal.resized_module import (
    Resizing,
    check_runs,
    cut_tensors,
    rebuilt,
    repeat_tensors,
)
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.pruning.plain_layers import plain_copy

Adapt = Callable[[nn.Module], None]
Redundancy = Literal["dead", "duplicate"]
Incoming = Literal["mean", "first"]


@dataclass(frozen=True)
class Shrunk:
    """A module without its redundant neurons, and what was found.

    Attributes:
        module: the smaller one.
        num_dead, num_duplicates: items that were removed; a channel and its normalised copy are
            one item.
        num_params_before, num_params: of both modules.
    """

    module: nn.Module
    num_dead: int
    num_duplicates: int
    num_params_before: int
    num_params: int

    def __str__(self) -> str:
        return (
            f"{self.num_dead} dead and {self.num_duplicates} duplicate neurons removed, "
            f"{self.num_params:,} of {self.num_params_before:,} parameters left"
        )


def remove_neurons(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    rows: Mapping[str, Collection[int]],
    *,
    adapt: Adapt | None = None,
) -> nn.Module:
    """The module without some neurons: as if what they put out were zero.

    Args:
        module: any that traces; masks on it (`networks.pruning`, `torch.nn.utils.prune`) are
            multiplied into the weights of the copy.
        example_inputs: what its `forward` takes; only shapes matter.
        rows: names of weights or biases, and which of their layers' outputs to cut, as
            `{"0.weight": [3, 5]}`. What a skip ties to them goes as well. All rows of a head or of
            a group of a convolution cut it as a whole; else each group must lose as many.
        adapt: sets sizes that the module keeps in attributes of its own.

    Returns:
        A new module, in evaluation mode where the old one is; that is left as it was.

    Raises:
        NNGraphsError: a row is not there, an output or a skip from an input needs it, it is the
            last of its layer, groups would differ in size, the module does not trace, or the new
            one does not run.
    """
    asked = f"remove {sum(map(len, rows.values()))} neurons of a {type(module).__name__}"
    network = _Network(module, example_inputs)
    items = NeuronItems(network.template)
    is_cut = items.are_cut(items.of_rows(rows, asked=asked))
    resizing = cut_tensors(network.template, network.params, torch.from_numpy(is_cut))
    return network.rebuilt(resizing, asked, adapt)


def merge_neurons(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    sets: Mapping[str, Sequence[Sequence[int]]],
    *,
    incoming: Incoming = "mean",
    adapt: Adapt | None = None,
) -> nn.Module:
    """The module with one neuron in the place of several, the first of each set.

    What read them reads the one, with the sum of their weights; where they are duplicates the
    outputs stay as they are.

    Args:
        module, example_inputs, adapt: as in `remove_neurons`.
        sets: names of weights or biases, and sets of rows to merge, as `{"0.weight": [[3, 5]]}`.
        incoming: the mean of what reached them ("mean"), or what reached the first.

    Raises:
        NNGraphsError: as in `remove_neurons`; or neurons lie in groups, norms see all of them
            together, or their weights are used in several places.
    """
    asked = f"merge neurons of a {type(module).__name__}"
    check_known(
        incoming, get_args(Incoming), asked=f"{asked}, keeping {incoming!r} of what comes in"
    )
    network = _Network(module, example_inputs)
    items = NeuronItems(network.template)
    chosen = _item_sets(items, sets, asked)
    _check_free(items, [item for own in chosen for item in own], asked)
    original = {item: own[0] for own in chosen for item in own}
    graph = merged(network.graph, representatives(items, original))
    if incoming == "mean":
        graph = averaged(graph, items, chosen)
    gone = {item for item, first in original.items() if item != first}
    return network.rebuilt(network.cut(items, gone, graph), asked, adapt)


def widen_neurons(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    copies: Mapping[str, Mapping[int, int]],
    *,
    adapt: Adapt | None = None,
) -> nn.Module:
    """The module with several neurons in the place of one, which together do what it did.

    Copies stand next to each other and share the outgoing weights evenly, so that the outputs stay
    as they are (Net2WiderNet: Chen et al., ICLR 2016).

    Args:
        module, example_inputs, adapt: as in `remove_neurons`.
        copies: names of weights or biases, and how often a row shall be there, as
            `{"0.weight": {3: 2}}`.

    Raises:
        NNGraphsError: as in `merge_neurons`; or a row shall be there less than once.
    """
    asked = f"widen a {type(module).__name__}"
    network = _Network(module, example_inputs)
    items = NeuronItems(network.template)
    counts = np.ones(items.num_items, dtype=np.int64)
    for name, own in copies.items():
        for row, count in own.items():
            if not isinstance(count, int) or count < 1:
                raise NNGraphsError(
                    asked,
                    found=f"row {row} of {name} shall be there {count} times.",
                    do="Give a whole number from 1 on; use remove_neurons for none.",
                )
            (item,) = items.of_rows({name: [row]}, asked=asked)
            counts[item] = count
    _check_free(items, np.flatnonzero(counts > 1).tolist(), asked)
    params = network.template.invert(
        _shared(network.graph, items, counts), base=network.params[None]
    )
    resizing = repeat_tensors(network.template, params[0], items.plain, counts)
    return network.rebuilt(resizing, asked, adapt)


def remove_redundant_neurons(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    *,
    kinds: Collection[Redundancy] = ("dead", "duplicate"),
    adapt: Adapt | None = None,
) -> Shrunk:
    """The module without neurons that it can do without; its outputs stay, up to rounding.

    Dead neurons put out a constant, which goes into the biases of those that read it, or nothing
    reads them. Duplicates are merged. Both are sought until there are none. Every layer keeps at
    least one neuron.

    Raises:
        NNGraphsError: the module does not trace, or has no neurons to look at; a kind is unknown.
    """
    asked = f"remove redundant neurons of a {type(module).__name__}"
    for kind in kinds:
        check_known(kind, get_args(Redundancy), asked=asked)
    network = _Network(module, example_inputs)
    items = NeuronItems(network.template)
    graph, gone = network.graph, {"dead": set(), "duplicate": set()}
    while True:
        before = gone["dead"] | gone["duplicate"]
        graph = _without_redundant(graph, items, kinds, gone)
        everyone = gone["dead"] | gone["duplicate"]
        if everyone == before:
            break
    if everyone:
        new = network.rebuilt(network.cut(items, everyone, graph), asked, adapt)
    else:
        new = network.with_modes(network.module)
    num_dead, num_duplicates = len(gone["dead"]), len(gone["duplicate"])
    return Shrunk(new, num_dead, num_duplicates, num_params(network.module), num_params(new))


class _Network:
    """A plain copy of a module, traced."""

    def __init__(self, module: nn.Module, example_inputs: Tensor | tuple[Tensor, ...]):
        self.inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
        self._modes = {name: layer.training for name, layer in module.named_modules()}
        self.module = plain_copy(module).eval()
        self.template: GraphTemplate = trace(self.module, self.inputs)
        self.params = self.template.parameters.flatten(self.module).cpu()

    @property
    def graph(self) -> NeuralGraphStack:
        return self.template.stack(self.params[None])

    def cut(self, items: NeuronItems, gone: Collection[int], graph: NeuralGraphStack) -> Resizing:
        """Tensors of a graph of this network that was edited, without some items."""
        params = self.template.invert(graph, base=self.params[None])[0]
        return cut_tensors(self.template, params, torch.from_numpy(items.are_cut(gone)))

    def rebuilt(self, resizing: Resizing, asked: str, adapt: Adapt | None) -> nn.Module:
        new = rebuilt(self.module, resizing, adapt=adapt)
        check_runs(self.module, new, self.inputs, asked)
        return self.with_modes(new)

    def with_modes(self, new: nn.Module) -> nn.Module:
        """A module each of whose layers is in evaluation mode where the given one is."""
        for name, layer in new.named_modules():
            layer.training = self._modes.get(name, layer.training)
        return new


def num_params(module: nn.Module) -> int:
    """How many numbers a module's parameters are."""
    return sum(parameter.numel() for parameter in module.parameters())


def _without_redundant(
    graph: NeuralGraphStack,
    items: NeuronItems,
    kinds: Collection[Redundancy],
    gone: dict[Redundancy, set[int]],
) -> NeuralGraphStack:
    """Adds to what is gone what is found now; the graph whose rest does the same without it."""
    before = gone["dead"] | gone["duplicate"]
    original = find_duplicates(graph, before) if "duplicate" in kinds else {}
    if "dead" in kinds:
        dead = find_dead(graph, before)
        gone["dead"] |= dead.items - before
        graph = _shifted(graph, dead)
    original = {item: first for item, first in original.items() if not {item, first} & gone["dead"]}
    gone["duplicate"] |= original.keys()
    graph = merged(graph, representatives(items, original))
    return without(graph, torch.from_numpy(items.are_cut(gone["dead"] | gone["duplicate"])))


def _shifted(graph: NeuralGraphStack, dead: DeadNeurons) -> NeuralGraphStack:
    """Biases, or running means where there are none, with what dead neurons gave."""
    template, shift = graph.template, dead.shift
    nodes, edges = graph.node_features.clone(), graph.edge_features.clone()
    for number, group in enumerate(template.groups):
        own = shift[group.start : group.stop]
        if not own.any():
            continue
        if group.bias is not None:
            nodes[0, group.start : group.stop, 0] += own
            continue
        for block in mean_blocks(template, number):
            assert block.kind is EdgeKind.MEAN
            moved = own[block.first_source : block.first_source + block.num_sources]
            edges[0, block.first_value : block.last_value, 0] -= moved
    return graph.with_features(nodes, edges)


def _shared(graph: NeuralGraphStack, items: NeuronItems, counts: np.ndarray) -> NeuralGraphStack:
    """Outgoing weights divided by how often their neurons shall be there."""
    edges = graph.edge_features.clone()
    often = np.where(items.plain >= 0, counts[items.plain], 1)
    for block in graph.template.blocks:
        if block.is_dense and block.num_groups == 1:
            source, _ = block.ends()
            start = graph.template.groups[block.source].start
            share = torch.from_numpy(often[start + source.numpy()]).to(edges.dtype)
            own = edges[0, block.first_value : block.last_value, 0]
            own.unflatten(0, (block.num_edges, block.kernel_size)).div_(share[:, None])
    return graph.with_features(graph.node_features, edges)


def _item_sets(
    items: NeuronItems, sets: Mapping[str, Sequence[Sequence[int]]], asked: str
) -> list[list[int]]:
    """Sets of rows as sets of items, the first one's first."""
    chosen: list[list[int]] = []
    for name, of_name in sets.items():
        for rows in of_name:
            own = [next(iter(items.of_rows({name: [row]}, asked=asked))) for row in rows]
            if len({int(items.permutation[item]) for item in own}) != 1:
                raise NNGraphsError(
                    asked,
                    found=f"rows {list(rows)} of {name} cannot change places.",
                    do="Merge neurons that the same layers read in the same way.",
                )
            chosen.append(own)
    everyone = [item for own in chosen for item in own]
    if len(set(everyone)) < len(everyone):
        raise NNGraphsError(
            asked,
            found="a neuron is in two sets, or twice in one.",
            do="Name each once; rows that a skip ties are one neuron.",
        )
    return chosen


def _check_free(items: NeuronItems, chosen: Sequence[int], asked: str) -> None:
    """Raises where items cannot be merged or doubled without a change of what reads them."""
    own = np.isin(items.levels, np.asarray(chosen, dtype=np.int64)).any(axis=0)
    bad = own & ~((items.plain >= 0) & can_be_merged(items))
    if bad.any():
        raise NNGraphsError(
            asked,
            found="some of them lie in groups or heads, are put together with others by a norm or "
            "a mean over channels, or are read by weights that are used in several places.",
            do="Choose neurons between plain layers, or use remove_neurons.",
        )
