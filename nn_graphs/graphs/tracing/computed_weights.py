"""Weights that a module computes of its parameters: what the graph shows are these.

Low-rank sums `W + s B A` (Hu et al., 2022, eq. 3) become linear maps, side by side and behind each
other. Weights `g v / |v|` (Salimans & Kingma, 2016, eq. 2) become linear maps by `v`, whose neurons
have the rule "directions", and gains `g`; where there is a length for each place of a kernel, `g`
stands on no edge.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Add,
    AddBias,
    Convolve,
    Linear,
    Scale,
    ScaleChannels,
)
from nn_graphs.graphs.parts.group_rules import Directions
from nn_graphs.graphs.parts.parameter_places import overlaps
from nn_graphs.graphs.tracing.moving_rules import TRANSPOSES
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments
from nn_graphs.networks.parameters import ParameterSlot

aten = torch.ops.aten
Chain = tuple[tuple[ParameterSlot, bool], ...]  # matrices, and whether each is transposed
SUMS = {aten.add.Tensor: 1.0, aten.sub.Tensor: -1.0}
KEPT = (aten.mul.Tensor, aten.div.Tensor, *SUMS, aten.mm.default, aten.matmul.default)
MOVED = (*TRANSPOSES, aten.numpy_T.default, aten.to.dtype)


@dataclass(frozen=True)
class WeightSum:
    """A sum of products of matrices, each with a factor."""

    terms: tuple[tuple[float, Chain], ...]

    def times(self, factor: float) -> "WeightSum":
        return WeightSum(tuple((factor * own, chain) for own, chain in self.terms))

    @property
    def transposed(self) -> "WeightSum":
        turned = [
            (factor, tuple((slot, not is_turned) for slot, is_turned in reversed(chain)))
            for factor, chain in self.terms
        ]
        return WeightSum(tuple(turned))

    @property
    def reads_twice(self) -> bool:
        """Whether a parameter is read in two arrangements."""
        slots = {slot for _, chain in self.terms for slot, _ in chain}
        return any(overlaps(slot, slots - {slot}) for slot in slots)

    def __add__(self, other: "WeightSum") -> "WeightSum":
        return WeightSum(self.terms + other.terms)

    def __matmul__(self, other: "WeightSum") -> "WeightSum":
        terms = [
            (factor * own, chain + behind)
            for factor, chain in self.terms
            for own, behind in other.terms
        ]
        return WeightSum(tuple(terms))


@dataclass(frozen=True)
class WeightDirections:
    """`lengths * directions / |directions|`, the lengths along an axis of the weight."""

    directions: ParameterSlot
    lengths: ParameterSlot
    axis: int


def weight_norm(tracer: Tracer, node: Node) -> None:
    """`torch._weight_norm`, of each neuron's weights, or of each place of a kernel."""
    given = arguments(node)
    directions, lengths = (tracer.slot(given[name], node) for name in ("v", "g"))
    if given["dim"] in (-1, 1):
        raise tracer.unknown(node, f"its lengths lie on the axis {given['dim']} of the weight.")
    tracer.put(node, WeightDirections(directions, lengths, given["dim"]))


def computing(rule: Rule) -> Rule:
    """A rule of an operation that may also make a weight of parameters alone."""

    def either(tracer: Tracer, node: Node) -> int | None:
        found = _weights_of(tracer, node) if _ends_as_weight(node) else None
        if found is None or found.reads_twice:
            return rule(tracer, node)
        return tracer.put(node, found)

    return either


def _weights_of(tracer: Tracer, node: Node) -> WeightSum | None:
    """What an operation makes of parameters; None where it takes anything else."""
    sides = [as_weight_sum(tracer, argument) for argument in node.args[:2]]
    left, right = (*sides, None)[:2]
    if node.target in MOVED:
        return left if node.target is aten.to.dtype or left is None else left.transposed
    if node.target in SUMS and left is not None and right is not None:
        factor = SUMS[node.target] * float(node.kwargs.get("alpha", 1))
        return left + right.times(factor)
    if node.target in (aten.mm.default, aten.matmul.default):
        return None if left is None or right is None else left @ right
    if node.target not in (aten.mul.Tensor, aten.div.Tensor) or left is None:
        return None
    number = node.args[1] if isinstance(node.args[1], float | int) else None
    if number is None:
        return None
    return left.times(number if node.target is aten.mul.Tensor else 1 / number)


def as_weight_sum(tracer: Tracer, argument) -> WeightSum | None:
    """A matrix of parameters, or what has been computed of them."""
    found = tracer.arranged(argument)
    if isinstance(found, WeightSum):
        return found
    parameter = None if tracer.is_value(argument) else tracer.parameter(argument)
    matrix = parameter.matrix() if parameter is not None and parameter.num_axes == 2 else None
    return None if matrix is None else WeightSum(((1.0, (matrix,)),))


def _ends_as_weight(node: Node) -> bool:
    """Whether all that is done with it makes weights of linear maps, more than a transpose."""
    waiting, is_computed = [node], False
    while waiting:
        source = waiting.pop()
        is_computed |= source.target in KEPT
        for user in source.users:
            if user.target is aten.linear.default and user.args[1] is source:
                continue
            if user.target not in (*KEPT, *MOVED):
                return False
            waiting.append(user)
    return is_computed


def applied_sum(tracer: Tracer, number: int, weight: WeightSum, bias: ParameterSlot | None) -> int:
    """A linear map by a sum of products of matrices."""
    total = None
    for factor, chain in weight.terms:
        own = number
        for slot, is_transposed in reversed(chain):
            own = tracer.emit(Linear(own, slot, None, is_transposed))
        own = own if factor == 1 else tracer.emit(Scale(own, factor))
        total = own if total is None else tracer.emit(Add(total, own))
    return total if bias is None else tracer.emit(AddBias(total, bias))


def applied_directions(
    tracer: Tracer,
    weight: WeightDirections,
    bias: ParameterSlot | None,
    make: Callable[[ParameterSlot], Linear | Convolve],
) -> int:
    """A linear map, or a convolution, by directions and lengths."""
    rule = Directions(weight.axis)
    number = tracer.emit(replace(make(weight.directions), rule=rule))
    if weight.axis == 0:
        gain = weight.lengths.part(0, (weight.lengths.size,))
        number = tracer.emit(ScaleChannels(number, gain))
    return number if bias is None else tracer.emit(AddBias(number, bias))
