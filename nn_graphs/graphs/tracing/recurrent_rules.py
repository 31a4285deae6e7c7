"""Rules of LSTM, GRU and Elman layers, which torch.export keeps as one operation each.

The graph is that of one step: the gates are neurons, and the state that the step before has left is
a group of its own, whose neurons move with those that compute the next one.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Concatenate,
    Linear,
    Multiply,
    Recur,
    Remember,
    Scale,
    Take,
)
from nn_graphs.graphs.tracing.arrangement import Arranged
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, arguments
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterSlot

aten = torch.ops.aten
Slots = dict[str, ParameterSlot | None]
Cell = Callable[[Tracer, int, list[int], Slots], list[int]]


def _activated(tracer: Tracer, number: int, name: str) -> int:
    return tracer.emit(Activate(number, Activation(name)))


def _maps(tracer: Tracer, source: int, memory: int, slots: Slots) -> tuple[int, int]:
    """The two linear maps, of the input and of the state before, all gates in a row."""
    mine = tracer.emit(Linear(source, slots["weight_ih"], slots["bias_ih"]))
    return mine, tracer.emit(Linear(memory, slots["weight_hh"], slots["bias_hh"]))


def _parts(tracer: Tracer, number: int, count: int) -> list[int]:
    width = tracer.width(number) // count
    return [tracer.emit(Take(number, n * width, width)) for n in range(count)]


def lstm_cell(tracer: Tracer, source: int, memories: list[int], slots: Slots) -> list[int]:
    hidden, cell = memories
    total = tracer.emit(Add(*_maps(tracer, source, hidden, slots)))
    gates = zip(_parts(tracer, total, 4), ("sigmoid", "sigmoid", "tanh", "sigmoid"), strict=True)
    enter, forget, new, leave = (_activated(tracer, number, name) for number, name in gates)
    kept = tracer.emit(Multiply(forget, cell))
    cell = tracer.emit(Add(tracer.emit(Multiply(enter, new)), kept))
    hidden = tracer.emit(Multiply(leave, _activated(tracer, cell, "tanh")))
    if slots.get("weight_hr") is not None:
        hidden = tracer.emit(Linear(hidden, slots["weight_hr"], None))
    return [hidden, cell]


def gru_cell(tracer: Tracer, source: int, memories: list[int], slots: Slots) -> list[int]:
    (hidden,) = memories
    mine, theirs = (_parts(tracer, n, 3) for n in _maps(tracer, source, hidden, slots))
    reset, update = (
        _activated(tracer, tracer.emit(Add(mine[n], theirs[n])), "sigmoid") for n in (0, 1)
    )
    recalled = tracer.emit(Multiply(reset, theirs[2]))
    new = _activated(tracer, tracer.emit(Add(mine[2], recalled)), "tanh")
    change = tracer.emit(Add(hidden, tracer.emit(Scale(new, -1.0))))
    return [tracer.emit(Add(new, tracer.emit(Multiply(update, change))))]


def elman_cell(
    tracer: Tracer, source: int, memories: list[int], slots: Slots, *, activation: str
) -> list[int]:
    total = tracer.emit(Add(*_maps(tracer, source, memories[0], slots)))
    return [_activated(tracer, total, activation)]


def recurrent(cell: Cell, *, num_states: int) -> Rule:
    """All layers and directions of a recurrent module."""

    def rule(tracer: Tracer, node: Node) -> None:
        given = arguments(node)
        states = given["hx"] if num_states > 1 else [given["hx"]]
        if given["train"] and given["dropout"]:
            raise tracer.unknown(node, f"{node.target} drops values at random.")
        source = tracer.on_axis(given["input"], -1, node)
        directions = 1 + given["bidirectional"]
        cells = list(_cells(tracer, node, given, has_projection=cell is lstm_cell))
        ends: list[list[int]] = []
        for first in range(0, len(cells), directions):
            for slots in cells[first : first + directions]:
                memories = _memories(tracer, node, states, slots, len(ends), len(cells))
                found = cell(tracer, source, memories, slots)
                pairs = zip(found, memories, strict=True)
                ends.append([tracer.emit(Recur(own, memory)) for own, memory in pairs])
            outs = tuple(own[0] for own in ends[-directions:])
            source = outs[0] if directions == 1 else tracer.emit(Concatenate(outs))
        columns = zip(*ends, strict=True)
        finals = (_stacked(tracer, node, column, n) for n, column in enumerate(columns))
        tracer.parts[node] = [source, *finals]

    return rule


def _cells(tracer: Tracer, node: Node, given: dict, *, has_projection: bool) -> Iterator[Slots]:
    """The parameters of every layer and direction."""
    names = ["weight_ih", "weight_hh"] + ["bias_ih", "bias_hh"] * given["has_biases"]
    num_cells = given["num_layers"] * (1 + given["bidirectional"])
    if has_projection and len(given["params"]) > num_cells * len(names):
        names.append("weight_hr")
    for first in range(0, len(given["params"]), len(names)):
        group = given["params"][first : first + len(names)]
        slots = [tracer.slot(parameter, node) for parameter in group]
        yield {"bias_ih": None, "bias_hh": None, **dict(zip(names, slots, strict=True))}


def _memories(
    tracer: Tracer, node: Node, states: Sequence[Node], slots: Slots, index: int, count: int
) -> list[int]:
    """The states before: of their own, or tied to the states that the module is given."""
    hidden_width = slots["weight_hh"].shape[1]
    cell_width = slots["weight_hr"].shape[1] if slots.get("weight_hr") else hidden_width
    memories = []
    for state, width in zip(states, (hidden_width, cell_width), strict=False):
        memory = tracer.emit(Remember(width))
        if tracer.is_node_value(state):
            found = tracer.arrangement(state, node)
            own = found.channels[index] if found.channels.shape[0] == count else found.channels
            ordered = tracer.in_order(Arranged(found.number, own), node)
            memory = tracer.emit(Add(ordered.number, memory))
        else:
            _check_alike(tracer, node, state)
        memories.append(memory)
    return memories


def _check_alike(tracer: Tracer, node: Node, state) -> None:
    """A constant first state must not tell channels apart."""
    constant = tracer.known(state)
    if constant is None:
        raise tracer.unknown(node, f"the first state {state} is neither a value nor constant.")
    if isinstance(constant, Tensor) and (constant != constant[..., :1]).any():
        raise tracer.unknown(node, f"the first state {state} differs from channel to channel.")


def _stacked(tracer: Tracer, node: Node, numbers: Sequence[int], which: int) -> Arranged | int:
    """The last states `[layers and directions, batch, width]`."""
    total = tracer.emit(Concatenate(tuple(numbers)))
    shape = tuple(node.meta["val"][which + 1].shape)
    width = shape[-1]
    order = torch.arange(len(numbers) * width).view(-1, *(1,) * (len(shape) - 2), width)
    return Arranged(total, order.expand(shape))


def _rule(cell: Cell, num_states: int = 1) -> Rule:
    return recurrent(cell, num_states=num_states)


RECURRENT: dict[Callable, Rule] = {
    aten.lstm.input: _rule(lstm_cell, 2),
    aten.gru.input: _rule(gru_cell),
    aten.rnn_tanh.input: _rule(partial(elman_cell, activation="tanh")),
    aten.rnn_relu.input: _rule(partial(elman_cell, activation="relu")),
}
