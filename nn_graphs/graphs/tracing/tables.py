"""Parameters that are values: rows of a table, looked up by one-hot neurons at every place."""

import torch
from torch import Tensor

from nn_graphs.graphs.builder.operations import Linear, LookUp, Pass
from nn_graphs.graphs.parts.steps import Step
from nn_graphs.graphs.tracing.arrangement import neighbours_on_axis
from nn_graphs.graphs.tracing.written import Written
from nn_graphs.networks.parameters import ParameterSlot


def written_table(
    written: Written, elements: Tensor, channels: Tensor, slot: ParameterSlot
) -> int | None:
    """Writes a parameter as a value: rows of a table, one channel each, looked up at every place.

    `elements` and `channels` (each counted from 0) are of the shape of the value, which has its
    channels on one axis. None where the parameter is arranged otherwise than by channels.
    """
    axis, _, width = neighbours_on_axis(channels)
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
