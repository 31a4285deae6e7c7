"""The groups of a template while they are being found, and what may still be added to them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from nn_graphs.graphs.builder.channels import Value, reading
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock
from nn_graphs.graphs.parts.group_rules import Rule, Sum
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterSlot

Flattening = Literal["parallel_edges", "repeat_nodes"]


@dataclass
class GroupDraft:
    """A group of neurons with the blocks of edges into it; see `parts.groups.NodeGroup`."""

    width: int
    kind: NeuronKind
    axis: int
    rule: Rule = Sum()  # noqa: RUF009 (frozen)
    bias: ParameterSlot | None = None
    activation: Activation = Activation()  # noqa: RUF009 (frozen)
    offset: float = 0.0
    blocks: list[EdgeBlock] = field(default_factory=list)
    memory_of: int | None = None


class Draft:
    """What the rules of operations write into.

    Attributes:
        flattening: how linear maps read channels at several places.
        groups: all groups so far; blocks and values name them by their number here.
        values: the value that each operation so far has made.
        outputs: the groups that the network puts out, in its order.
    """

    def __init__(self, flattening: Flattening):
        self.flattening = flattening
        self.groups: list[GroupDraft] = []
        self.values: list[Value] = []
        self.outputs: list[int] = []

    def group_of(self, value: Value) -> GroupDraft:
        """The group that the first channels of a value come from."""
        return self.groups[value.pieces[0].group]

    def new_group(
        self,
        width: int,
        axis: int,
        *,
        kind: NeuronKind = NeuronKind.HIDDEN,
        rule: Rule = Sum(),  # noqa: B008 (frozen)
        bias: ParameterSlot | None = None,
        blocks: Sequence[EdgeBlock] = (),
    ) -> Value:
        """Opens a group; all of it as a value."""
        self.groups.append(GroupDraft(width, kind, axis, rule, bias, blocks=list(blocks)))
        return Value.of_group(len(self.groups) - 1, width, axis)

    def follow(self, value: Value) -> Value:
        """A new group that repeats a value, through edges of the value's factor."""
        blocks = [reading(piece) for piece in value.pieces]
        return self.new_group(value.width, value.axis, blocks=blocks)

    def simple(self, value: Value) -> Value:
        """The value, followed where channels are scaled or zero."""
        return value if value.is_simple else self.follow(value)

    def unrepeated(self, value: Value) -> Value:
        """The value, followed where several channels are one neuron's."""
        return self.follow(value) if value.is_repeated else value

    def as_one_piece(self, value: Value) -> Value:
        """The value, followed where it is more than neighbours of one group."""
        is_one = len(value.pieces) == 1 and value.pieces[0].length == value.width
        return value if is_one else self.follow(value)

    def is_own(self, value: Value) -> bool:
        """Whether the value is all that a hidden group puts out, and nobody else reads it."""
        group = self.group_of(value)
        is_whole = value == Value.of_group(value.pieces[0].group, group.width, group.axis)
        return is_whole and group.kind is NeuronKind.HIDDEN

    def is_inactive(self, value: Value) -> bool:
        """Whether the value's group can take an activation."""
        group = self.group_of(value)
        return self.is_own(value) and group.activation.name == "none" and group.offset == 0

    def is_open(self, value: Value) -> bool:
        """Whether more can be added to the sum that the value's group computes."""
        return self.is_inactive(value) and self.group_of(value).rule == Sum()
