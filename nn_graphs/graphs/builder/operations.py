"""What a network computes, as a list of operations: the language between front ends and builder.

Both front ends (`trace`, for torch modules, and `spec_operations`, for a `NetworkSpec`) write this
list; the builder turns it into a graph template. An operation refers to the values it takes by
their number in the list.

Channels lie on one axis of a value, counted from behind: the last one of what a linear map puts
out, the one before the places of what a convolution does.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from nn_graphs.graphs.parts.group_rules import Directions, Normalization, Opaque, Sum
from nn_graphs.graphs.parts.steps import AnyStep, Convolution, Reshape
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterSlot


class _Constant:
    """Takes no value."""

    sources = ()

    def renumbered(self, places: Sequence[int]) -> "Operation":
        """The same operation on values whose numbers have changed."""
        return self


@dataclass(frozen=True)
class _Unary:
    source: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source,)

    def renumbered(self, places: Sequence[int]) -> "Operation":
        return replace(self, source=places[self.source])


@dataclass(frozen=True)
class _Binary:
    source: int
    other: int

    @property
    def sources(self) -> tuple[int, ...]:
        return (self.source, self.other)

    def renumbered(self, places: Sequence[int]) -> "Operation":
        return replace(self, source=places[self.source], other=places[self.other])


@dataclass(frozen=True)
class _Several:
    sources: tuple[int, ...]

    def renumbered(self, places: Sequence[int]) -> "Operation":
        return replace(self, sources=tuple(places[source] for source in self.sources))


@dataclass(frozen=True)
class Input(_Constant):
    """An input of the network with `width` channels."""

    width: int
    axis: int = -1


@dataclass(frozen=True)
class Linear(_Unary):
    """`W h + b`; the weight is `[out, in]`, the bias `[out]` or None."""

    weight: ParameterSlot
    bias: ParameterSlot | None
    is_transposed: bool = False  # the weight is `[in, out]`
    rule: Sum | Directions = Sum()  # noqa: RUF009 (frozen)

    axis = -1


@dataclass(frozen=True)
class Convolve(_Unary):
    """A convolution; the weight is as torch has it, `[out, in / groups, *kernel]` mostly."""

    weight: ParameterSlot
    bias: ParameterSlot | None
    convolution: Convolution
    rule: Sum | Directions = Sum()  # noqa: RUF009 (frozen)

    @property
    def axis(self) -> int:
        return -1 - self.convolution.num_axes


@dataclass(frozen=True)
class Normalize(_Unary):
    """A norm with its gain, bias and running statistics, `[width]` each, where it has them."""

    rule: Normalization
    gain: ParameterSlot | None
    bias: ParameterSlot | None
    mean: ParameterSlot | None = None
    variance: ParameterSlot | None = None


@dataclass(frozen=True)
class ScaleChannels(_Unary):
    """Every channel times a parameter of its own, `[width]`."""

    gain: ParameterSlot


@dataclass(frozen=True)
class Pass(_Unary):
    """A step that acts on every channel alone; the channels are on `axis` behind it."""

    step: AnyStep
    axis: int


@dataclass(frozen=True)
class Flatten(_Unary):
    """The places of every channel become `step.repeat` channels, as neighbours."""

    step: Reshape
    axis: int


@dataclass(frozen=True)
class Take(_Unary):
    """The channels `first ... first + width - 1`."""

    first: int
    width: int


@dataclass(frozen=True)
class Concatenate(_Several):
    """The channels of several values, one behind the other."""


@dataclass(frozen=True)
class Activate(_Unary):
    """`act(h)`."""

    activation: Activation


@dataclass(frozen=True)
class Add(_Binary):
    """`h + g`; as wide as `h`, the first channels of `g` only where `g` has more or fewer."""


@dataclass(frozen=True)
class Multiply(_Binary):
    """`h * g`, channel by channel."""


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


@dataclass(frozen=True)
class LookUp(_Constant):
    """Rows of a table: constant neurons, of which one is 1 at every place.

    `rows` are their numbers in the order of the places, whose axes have the sizes `shape`.
    """

    rows: tuple[int, ...]
    shape: tuple[int, ...]
    num_rows: int

    axis = -1


@dataclass(frozen=True)
class AddBias(_Unary):
    """A parameter of its own, `[width]`, is added to every channel."""

    bias: ParameterSlot


@dataclass(frozen=True)
class Gather(_Unary):
    """The channels of a value in another order, some of them perhaps more than once."""

    channels: tuple[int, ...]


@dataclass(frozen=True)
class Total(_Unary):
    """The sum of all channels, as one channel."""


@dataclass(frozen=True)
class SumHeads(_Unary):
    """The sum of each of `num_heads` runs of neighbouring channels, which are equally long."""

    num_heads: int


@dataclass(frozen=True)
class Choose(_Several):
    """`g` where `c` is 1, `h` where it is 0, channel by channel; `sources` are `(c, g, h)`."""


@dataclass(frozen=True)
class Modulate(_Unary):
    """Constants, the same for channels of one number in `pattern`, are added or multiplied."""

    pattern: tuple[int, ...]


@dataclass(frozen=True)
class Combine(_Binary):
    """Products of channels of two values: one channel for each row of `channels` and `others`.

    With `is_match`, the sum over the products of a row of channels (queries and keys); else a row
    is one channel of each (the weights of a head and its values, summed over places).
    """

    channels: tuple[tuple[int, ...], ...]
    others: tuple[tuple[int, ...], ...]
    is_match: bool

    axis = -1


@dataclass(frozen=True)
class Share(_Binary):
    """`h` times, or plus, channel `channels[i]` of `g` for channel i of `h`: once for each head."""

    channels: tuple[int, ...]
    is_product: bool


@dataclass(frozen=True)
class Hide(_Several):
    """What an unknown operation makes of several values: `width` channels, each told apart.

    They lie on `axis`; one channel lies on none.
    """

    rule: Opaque
    width: int
    axis: int | None


@dataclass(frozen=True)
class Remember(_Constant):
    """The values of `width` recurrent neurons one step before the first `Recur` of it."""

    width: int

    axis = -1


@dataclass(frozen=True)
class Recur(_Binary):
    """`h`, which the next step reads as the memory `other`."""


Operation = (
    Input
    | Linear
    | Convolve
    | Normalize
    | ScaleChannels
    | Activate
    | Add
    | Multiply
    | Scale
    | Shift
    | Pass
    | Flatten
    | Take
    | Concatenate
    | Resize
    | LookUp
    | AddBias
    | Gather
    | Total
    | SumHeads
    | Choose
    | Modulate
    | Combine
    | Share
    | Hide
    | Remember
    | Recur
    | Output
)
