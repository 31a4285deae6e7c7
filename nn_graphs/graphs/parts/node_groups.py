"""Groups of neurons: the layers of a graph template."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from nn_graphs.graphs.parts.group_rules import Rule, Sum
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterSlot

SHOWN_GROUPS = 8  # in a representation


class NeuronKind(Enum):
    """What a neuron is to its network; the value is its `kind_id`."""

    INPUT = 0
    HIDDEN = 1
    OUTPUT = 2


@dataclass(frozen=True)
class NodeGroup:
    """Neurons `start ... start + width - 1`: one layer, computed together.

    `first_neuron` is the `neuron_id` of the first among its graph's inputs, hidden neurons or
    outputs. When the network runs, a neuron may have a value at many places; neurons are then on
    the `axis` of the values (from behind; of images, -3). With the rule `Memory`, `memory_of` is
    the group that computes the values of the next step.
    """

    start: int
    width: int
    kind: NeuronKind
    first_neuron: int
    activation: Activation
    offset: float
    bias: ParameterSlot | None
    rule: Rule = Sum()  # noqa: RUF009 (frozen)
    axis: int = -1
    memory_of: int | None = None

    @property
    def stop(self) -> int:
        return self.start + self.width


def shown_widths(groups: Sequence[NodeGroup]) -> str:
    """The widths of all groups, as `2-32-32-1`; of many, the first and the last."""
    return shown_layout([group.width for group in groups])


def shown_layout(layer_layout: Sequence[int]) -> str:
    """Widths of layers, as `2-32-32-1`; of many, the first and the last."""
    widths = list(map(str, layer_layout))
    if len(widths) > SHOWN_GROUPS:
        widths = [*widths[: SHOWN_GROUPS - 2], "...", *widths[-2:]]
    return "-".join(widths)
