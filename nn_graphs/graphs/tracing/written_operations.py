"""The operations that a tracer has written, with the channels of the values that they make."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Combine,
    Concatenate,
    Convolve,
    Flatten,
    Gather,
    Hide,
    Input,
    Linear,
    LookUp,
    Operation,
    Output,
    Pass,
    Remember,
    Resize,
    Scale,
    Shift,
    SumHeads,
    Take,
    Total,
)
from nn_graphs.graphs.parts.steps import Reshape, Step
from nn_graphs.graphs.tracing.arrangement import along_axis
from nn_graphs.networks.parameters import ParameterSlot

POINTWISE = (Input, Linear, Activate, Add, Scale, Shift, Take, Resize, Output)


class Written:
    """A list of operations that grows.

    Attributes:
        operations: as written so far.
        axes: for every value, the axis that its channels lie on, from behind.
        widths: how many channels every value has.
    """

    def __init__(self):
        self.operations: list[Operation] = []
        self.axes: list[int] = []
        self.widths: list[int] = []

    def emit(self, operation: Operation) -> int:
        """Writes an operation; the number of its value."""
        axis = getattr(operation, "axis", None)
        if axis is None:
            axis = self.axes[operation.sources[0]] if operation.sources else -1
        self.axes.append(axis)
        self.widths.append(_width(operation, self.widths))
        self.operations.append(operation)
        return len(self.operations) - 1

    def forget(self, first: int) -> None:
        """Takes back the operations from a number on."""
        for written in (self.operations, self.axes, self.widths):
            del written[first:]

    def checked_slots(self, first: int, others: set[ParameterSlot]) -> set[ParameterSlot]:
        """The parameters that the operations from a number on show beside others.

        Raises:
            NNGraphsError: they overlap with those.
        """
        found = _slots_of(self.operations[first:])
        if not found <= others:
            _check_parts(found | others)
        return found

    def gathered(self, number: int, channels: tuple[int, ...]) -> int:
        """A value of the chosen channels of another."""
        first, width = channels[0], len(channels)
        if channels == tuple(range(self.widths[number])):
            return number
        if channels == tuple(range(first, first + width)):
            return self.emit(Take(number, first, width))
        return self.emit(Gather(number, channels))

    def finished(self) -> list[Operation]:
        """All operations, when there are no more to come.

        Raises:
            NNGraphsError: parts of a parameter that are read overlap.
        """
        _check_parts(_slots_of(self.operations))
        return _without_idle_reshapes(self.operations)


def _width(operation: Operation, widths: Sequence[int]) -> int:
    """How many channels a value has, from those that it is made of."""
    match operation:
        case Input() | Take() | Resize() | Remember() | Hide():
            return operation.width
        case Linear():
            return operation.weight.shape[operation.is_transposed]
        case Convolve():
            shape, movement = operation.weight.shape, operation.convolution
            return shape[1] * movement.num_groups if movement.is_transposed else shape[0]
        case Flatten():
            return widths[operation.source] * operation.step.repeat
        case Concatenate():
            return sum(widths[source] for source in operation.sources)
        case LookUp():
            return operation.num_rows
        case Gather() | Combine():
            return len(operation.channels)
        case Total():
            return 1
        case SumHeads():
            return operation.num_heads
    return widths[operation.sources[0]]


def _slots_of(operations: Sequence[Operation]) -> set[ParameterSlot]:
    """The parameters that operations show."""
    return {
        value
        for operation in operations
        for value in vars(operation).values()
        if isinstance(value, ParameterSlot) and value.size
    }


def _check_parts(slots: Collection[ParameterSlot]) -> None:
    """A parameter is read as a whole, or in parts that do not overlap."""
    ordered = sorted(slots, key=lambda slot: (slot.offset, slot.size))
    for slot, following in pairwise(ordered):
        if following.offset < slot.stop:
            raise NNGraphsError(
                f"make a neural graph that shows {slot.name} and {following.name}",
                found="they overlap, as parts of one parameter.",
                do="A parameter must be read as a whole, or in parts that do not overlap.",
            )


def _without_idle_reshapes(operations: list[Operation]) -> list[Operation]:
    """Where every operation acts on each point alone, how points are arranged does not matter."""

    def is_idle(operation: Operation) -> bool:
        has_reshape = isinstance(operation, Pass) and isinstance(operation.step, Reshape)
        return has_reshape and operation.axis == -1

    is_pointwise = all(isinstance(o, POINTWISE) or is_idle(o) for o in operations)
    if not is_pointwise or not any(map(is_idle, operations)):
        return operations
    kept: list[Operation] = []
    places: list[int] = []
    for operation in operations:
        if is_idle(operation):
            places.append(places[operation.source])
        else:
            kept.append(operation.renumbered(places))
            places.append(len(kept) - 1)
    return [replace(o, axis=-1) if isinstance(o, Input) else o for o in kept]


def written_table(written: Written, elements: Tensor, axis: int, slot: ParameterSlot) -> int | None:
    """Writes a parameter as a value: rows of a table, one channel each, looked up at every place.

    `elements` are of the shape of the value, which has all its channels on the axis. None where the
    parameter is arranged otherwise than by channels.
    """
    width = elements.shape[axis]
    channels = along_axis(width, axis, tuple(elements.shape))
    first = 0 if slot.size % width == 0 else int(elements.min())
    count = slot.size // width if first == 0 else (int(elements.max()) + 1 - first) // width
    for is_transposed in (True, False):
        rows, own = (elements - first) // width, (elements - first) % width
        if not is_transposed:
            own, rows = (elements - first) // count, (elements - first) % count
        places = rows.select(axis, 0)
        if torch.equal(own, channels) and (rows == places.unsqueeze(axis)).all():
            break
    else:
        return None
    for number in range(places.ndim):
        if (places == places.narrow(number, 0, 1)).all():
            places = places.narrow(number, 0, 1)
    number = written.emit(LookUp(tuple(places.flatten().tolist()), tuple(places.shape), count))
    shape = (count, width) if is_transposed else (width, count)
    number = written.emit(Linear(number, slot.part(first, shape), None, is_transposed))
    if axis != -1:
        number = written.emit(Pass(number, Step("aten.movedim.int", (-1, axis)), axis))
    return number
