"""A module of another size: a copy whose parameters and sizes are those that are left, or repeated.

Which elements of a tensor stay is read off the graph: those whose edge, or neuron, stays.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parts.group_rules import Normalization
from nn_graphs.graphs.parts.node_groups import NodeGroup
from nn_graphs.graphs.removal.layer_sizes import fit_sizes, fit_to_values
from nn_graphs.networks.parameters import ParameterSlot

Numbers = np.ndarray
Tensors = dict[ParameterSlot, Tensor]


@dataclass(frozen=True)
class Resizing:
    """New tensors of an architecture, and in how many groups the channels of each now lie."""

    tensors: Tensors
    num_groups: dict[ParameterSlot, int]


def cut_tensors(
    template: GraphTemplate,
    params: Float[Tensor, "num_params"],
    is_cut: Bool[Tensor, "num_nodes"],
) -> Resizing:
    """All tensors without what belongs to neurons that are cut.

    Raises:
        NNGraphsError: blocks of one convolution or norm would differ in size, or nothing is left of
            a layer.
    """
    _check_groups(template, is_cut)
    stays = on_elements(template, (~is_cut).double(), (~is_cut).double(), at_edges=torch.minimum)
    stays = torch.where(template.is_shown, stays, 1.0)
    num_groups = _groups_left(template, ~is_cut)
    tensors: Tensors = {}
    for slot in template.parameters.slots:
        kept = template.parameters.view(stays, slot) > 0.5
        values = template.parameters.view(params, slot)
        tensors[slot] = values.clone() if kept.all() else values[kept].view(_shape(kept))
    return Resizing(tensors, num_groups)


def repeat_tensors(
    template: GraphTemplate,
    params: Float[Tensor, "num_params"],
    item_of: Numbers,
    counts: Numbers,
) -> Resizing:
    """All tensors with what belongs to some items as often as is said: `counts[item_of[neuron]]`.

    Neurons of no such item (-1) stay as they are.
    """
    ids = torch.arange(template.num_nodes, dtype=torch.float64)
    targets = on_elements(template, ids, ids, at_edges=lambda source, target: target)
    nothing = torch.full_like(ids, -1)
    sources = on_elements(template, nothing, ids, at_edges=lambda source, target: source)
    ends = [torch.where(template.is_shown, end, -1.0) for end in (targets, sources)]
    tensors: Tensors = {}
    for slot in template.parameters.slots:
        values = template.parameters.view(params, slot)
        for end, axis in zip(ends, _axes(template, slot), strict=True):
            if axis is not None:
                neurons = template.parameters.view(end, slot).long().movedim(axis, 0)
                neurons = neurons.reshape(len(neurons), -1)
                assert (neurons == neurons[:, :1]).all(), "an axis belongs to one end of edges"
                places = _runs_repeated(neurons[:, 0].numpy(), item_of, counts)
                values = values.index_select(axis, torch.from_numpy(places))
        tensors[slot] = values.clone()
    everyone = torch.ones(template.num_nodes, dtype=torch.bool)
    return Resizing(tensors, _groups_left(template, everyone, item_of, counts))


def on_elements(
    template: GraphTemplate,
    nodes: Float[Tensor, "num_nodes"],
    at_ends: Float[Tensor, "num_nodes"],
    *,
    at_edges: Callable[[Tensor, Tensor], Tensor],
) -> Float[Tensor, "num_params"]:
    """Numbers of neurons, or made of those at the ends of edges, in the place of parameters."""
    source, target = template.structure().edge_index
    edges = at_edges(at_ends[source], at_ends[target])[template.edge_of_value]
    unshown = nodes.new_zeros(1, template.num_unshown)
    stack = NeuralGraphStack(template, nodes[None, :, None], edges[None, :, None], unshown=unshown)
    return template.invert(stack)[0]


def rebuilt(
    module: nn.Module, resizing: Resizing, *, adapt: Callable[[nn.Module], None] | None = None
) -> nn.Module:
    """A copy of a module with other tensors, and the sizes of its layers set by them."""
    new = copy.deepcopy(module)
    with torch.no_grad():
        for slot, tensor in resizing.tensors.items():
            _put(new, slot, tensor)
    changed = [slot for slot, tensor in resizing.tensors.items() if slot.shape != tensor.shape]
    changed.sort(key=lambda slot: slot in resizing.num_groups)  # what tells of groups comes last
    for slot in changed:
        for name in (slot.name, *slot.aliases):
            layer = new.get_submodule(name.rpartition(".")[0])
            fit_sizes(layer, resizing.num_groups.get(slot, 1))
    if adapt is not None:
        adapt(new)
    return new


def check_runs(module: nn.Module, new: nn.Module, inputs: tuple[Tensor, ...], asked: str) -> None:
    """Runs both on the inputs; norms without parameters take their sizes.

    Raises:
        NNGraphsError: the new one does not run, or puts out other shapes.
    """
    hooks = [layer.register_forward_pre_hook(fit_to_values) for layer in new.modules()]
    try:
        with torch.no_grad():
            shapes = [_shapes(one(*inputs)) for one in (module, new)]
    except Exception as error:
        raise NNGraphsError(
            asked,
            found=f"the new module does not run ({' '.join(str(error).split())[:160]}).",
            do="Its forward may hold sizes: read them off the values (x.flatten(1), x.shape), or "
            "set them by adapt=, a function of the new module.",
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if shapes[0] != shapes[1]:
        raise NNGraphsError(
            asked,
            found=f"the new module puts out {shapes[1]} instead of {shapes[0]}.",
            do="Cut neurons that no output needs.",
        )


def _put(module: nn.Module, slot: ParameterSlot, tensor: Tensor) -> None:
    """Sets a tensor wherever it stands, on the device and in the precision that it had."""
    path, _, attribute = slot.name.rpartition(".")
    first = module.get_submodule(path)
    is_parameter = attribute in first._parameters
    old = (first._parameters if is_parameter else first._buffers)[attribute]
    tensor = tensor.to(old)
    if is_parameter:
        tensor = nn.Parameter(tensor, requires_grad=old.requires_grad)
    for name in (slot.name, *slot.aliases):
        path, _, attribute = name.rpartition(".")
        owner = module.get_submodule(path)
        (owner._parameters if is_parameter else owner._buffers)[attribute] = tensor


def _shape(kept: Tensor) -> tuple[int, ...]:
    """The shape of what is kept of a tensor: as much in every row, see `_count`."""
    shape: list[int] = []
    while kept.dim():
        rows = kept.flatten(1).any(1) if kept.dim() > 1 else kept
        own = kept[rows]
        shape.append(len(own))
        kept = _first_alike(own)
    return tuple(shape)


def _first_alike(rows: Tensor) -> Tensor:
    """The first of some rows; they hold as much each, in the same form."""
    return rows[0] if len(rows) else torch.ones(rows.shape[1:]) > 0


def _check_groups(template: GraphTemplate, is_cut: Tensor) -> None:
    for number, group in enumerate(template.groups):
        if group.width and is_cut[group.start : group.stop].all():
            name = group.bias.name if group.bias is not None else f"number {number}"
            raise NNGraphsError(
                "cut neurons",
                found=f"none of the {group.width} neurons of the layer {name} would be left.",
                do="Leave at least one.",
            )


def _groups_left(
    template: GraphTemplate,
    stays: Tensor,
    item_of: Numbers | None = None,
    counts: Numbers | None = None,
) -> dict[ParameterSlot, int]:
    """In how many groups the channels of convolutions and norms lie, by their weights."""
    groups: dict[ParameterSlot, int] = {}
    weights = np.ones(template.num_nodes, dtype=np.int64)
    if item_of is not None:
        weights = np.where(item_of >= 0, counts[item_of], 1)
    for block in template.blocks:
        if block.is_dense and block.num_groups > 1:
            start = template.groups[block.target].start + block.first_target
            groups[block.weight] = _count(
                stays, weights, start, block.num_targets, block.num_groups
            )
    for number, group in enumerate(template.groups):
        rule = group.rule
        if isinstance(rule, Normalization) and rule.num_groups > 1:
            left = _count(stays, weights, group.start, group.width, rule.num_groups)
            gains = [b.weight for b in template.blocks if b.target == number and b.weight]
            groups |= dict.fromkeys([*gains, *([group.bias] if group.bias else [])], left)
    return groups


def _count(stays: Tensor, weights: Numbers, start: int, width: int, num_groups: int) -> int:
    """How many of some groups of neighbours have neurons left; single ones count as repeated."""
    of_group = stays[start : start + width].reshape(num_groups, -1)
    left = of_group.sum(1)
    if len(set(left[left > 0].tolist())) > 1:
        raise NNGraphsError(
            "change the number of neurons",
            found=f"{num_groups} groups of a convolution or a norm would have "
            f"{', '.join(map(str, left.tolist()))} left.",
            do="Cut as many of each group, or whole groups.",
        )
    if of_group.shape[1] == 1:
        return int((stays[start : start + width].numpy() * weights[start : start + width]).sum())
    return int((left > 0).sum())


def _axes(template: GraphTemplate, slot: ParameterSlot) -> tuple[int | None, int | None]:
    """The axes of a tensor on which the targets and the sources of its edges lie."""
    for own, places in template.places.items():
        if slot.offset <= own.offset < slot.stop:
            place = places[0]
            if isinstance(place, NodeGroup) or not place.is_dense:
                return 0, None
            ends = (1, 0) if place.is_transposed else (0, 1)
            return ends if place.num_groups == 1 else (0, None)
    return None, None


def _runs_repeated(neurons: Numbers, item_of: Numbers, counts: Numbers) -> Numbers:
    """Places on an axis, runs of neurons of one item as often as is said."""
    items = np.where(neurons >= 0, item_of[neurons], -1)
    starts = np.flatnonzero(np.append(True, items[1:] != items[:-1]))
    runs = np.split(np.arange(len(items)), starts[1:])
    often = [counts[items[run[0]]] if items[run[0]] >= 0 else 1 for run in runs]
    return np.concatenate([np.tile(run, count) for run, count in zip(runs, often, strict=True)])


def _shapes(output: object) -> list[tuple[int, ...]]:
    leaves = torch.utils._pytree.tree_leaves(output)
    return [tuple(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]
