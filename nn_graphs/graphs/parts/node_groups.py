"""Groups of neurons: the layers of a graph template."""

from dataclasses import dataclass
from enum import Enum

from nn_graphs.graphs.parts.group_rules import Rule, Sum
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterSlot


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
