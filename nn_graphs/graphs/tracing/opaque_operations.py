"""Operations without a rule, kept as opaque ones: what goes in and comes out stays where it is.

The rest of the network keeps its neurons, edges and symmetries. An opaque operation is a neuron
that all it takes is joined to; parameters that it reads itself stand on no edge.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node

from nn_graphs.graphs.builder.operations import Hide, Output
from nn_graphs.graphs.parts.group_rules import Opaque
from nn_graphs.graphs.tracing.arrangement import Arranged, ArrangedParameter
from nn_graphs.graphs.tracing.input_axes import input_axis
from nn_graphs.graphs.tracing.refusals import module_of
from nn_graphs.graphs.tracing.tracer import Tracer
from nn_graphs.networks.parameters import ParameterSlot


@dataclass(frozen=True)
class Behind:
    """What lies behind the result of an opaque operation that is no value of its own.

    Attributes:
        sources: numbers of the values that it was made of.
        parameters: those that it was made of.
        unknown: the first operation that has no rule.
    """

    sources: tuple[int, ...] = ()
    parameters: tuple[ParameterSlot, ...] = ()
    unknown: Node | None = None

    def __add__(self, other: "Behind") -> "Behind":
        sources = dict.fromkeys((*self.sources, *other.sources))
        parameters = dict.fromkeys((*self.parameters, *other.parameters))
        return Behind(tuple(sources), tuple(parameters), self.unknown or other.unknown)


def hide(node: Node, behind: Behind) -> Hide:
    """The operation that stands for an unknown one, whose result is one tensor."""
    value, unknown = node.meta["val"], behind.unknown or node
    axis = input_axis(node) if value.ndim else None
    width = 1 if axis is None else value.shape[axis]
    place = f"{unknown.name} in {module_of(unknown)}"
    rule = Opaque(str(unknown.target), place, behind.parameters)
    return Hide(behind.sources, rule, width, axis)


class LenientTracer(Tracer):
    """A tracer that keeps operations which no rule follows as opaque ones."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._behind: dict[Node, Behind] = {}
        self._shown: set[ParameterSlot] = set()

    def _follow(self, node: Node) -> None:
        before = self._noted()
        try:
            super()._follow(node)
            self._shown |= self.written.checked_slots(before[0], self._shown)
        except Exception:  # what a rule did not think of, too
            self._forget_since(before)
            self._hide(node)

    def _add_output(self, output: Any, node: Node) -> None:
        behind = self._behind.get(output)
        if behind is None:
            super()._add_output(output, node)
        elif (behind.sources or behind.parameters) and isinstance(output.meta.get("val"), Tensor):
            self.emit(Output(self.emit(hide(output, behind))))

    def _hide(self, node: Node) -> None:
        behind = sum((self._behind_of(source) for source in node.all_input_nodes), Behind())
        value = node.meta.get("val")
        is_sized = isinstance(value, Tensor) and all(isinstance(n, int) for n in value.shape)
        if not behind.sources or not is_sized:  # or as large as the values say
            self._behind[node] = behind + Behind(unknown=node)
            return
        operation = hide(node, behind)
        if operation.axis is None:
            self.put_single(node, self.emit(operation))
        else:
            self._numbers[node] = self.emit(operation)

    def _behind_of(self, source: Node) -> Behind:
        if source in self._behind:
            return self._behind[source]
        if source in self.parts:
            parts = self.parts[source]
            return sum((self._behind_part(part) for part in parts), Behind())
        if self.is_node_value(source):
            return Behind((self.number_of(source, source),))
        parameter = self.parameter(source)
        return Behind() if parameter is None else self._behind_part(parameter)

    def _behind_part(self, part: int | Arranged | ArrangedParameter) -> Behind:
        if isinstance(part, ArrangedParameter):
            return Behind(parameters=(part.slot,))
        return Behind((part.number if isinstance(part, Arranged) else part,))
