"""What a network computes, as a list of operations: the language between front ends and builder.

Both front ends (`trace`, for torch modules, and `spec_operations`, for a `NetworkSpec`) write this
list; the builder turns it into a graph template. An operation refers to the values it takes by
their number in the list.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterSlot


@dataclass(frozen=True)
class _Unary:
    source: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)

    def renumbered(self, places: Sequence[int]) -> "Operation":
        """The same operation on values whose numbers have changed."""
        return replace(self, source=places[self.source])


@dataclass(frozen=True)
class Input:
    """An input of the network with `width` channels."""

    width: int

    sources = ()

    def renumbered(self, places: Sequence[int]) -> "Operation":
        return self


@dataclass(frozen=True)
class Linear(_Unary):
    """`W h + b`; the weight is `[out, in]`, the bias `[out]` or None."""

    weight: ParameterSlot
    bias: ParameterSlot | None


@dataclass(frozen=True)
class Activate(_Unary):
    """`act(h)`."""

    activation: Activation


@dataclass(frozen=True)
class Add:
    """`h + g`; as wide as `h`, the first channels of `g` only where `g` has more or fewer."""

    source: int
    addend: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source, self.addend)

    def renumbered(self, places: Sequence[int]) -> "Operation":
        return Add(places[self.source], places[self.addend])


@dataclass(frozen=True)
class Scale(_Unary):
    """`factor * h`, for a constant."""

    factor: float


@dataclass(frozen=True)
class Shift(_Unary):
    """`h + constant`."""

    constant: float


@dataclass(frozen=True)
class Resize(_Unary):
    """The first `width` channels of `h`, with zeros behind where `h` has fewer."""

    width: int


@dataclass(frozen=True)
class Output(_Unary):
    """Marks a value as an output of the network."""


Operation = Input | Linear | Activate | Add | Scale | Shift | Resize | Output
