"""The graph builder: what each operation does to a neural graph.

Neurons come in groups: all output channels of one linear map, say. A group computes

    h = act(sum of incoming blocks + bias) + offset

so activations, constant offsets and additive skips are absorbed by the group that a linear map has
opened, as long as nobody else reads the value in between; where somebody does, they get a group of
their own, joined by edges of a constant value. Norms and gates are groups with another rule than
the sum. What has no parameters and acts on each channel alone (pooling, resizing) is a step on the
way to those who read it. Groups come out in topological order.

Where things are:

- `operations`: the language that front ends write, `spec_operations` (`from_spec`) and `trace`.
- `channels`: the values that operations make, as pieces of groups, and the blocks of edges that
  read them; `draft`: the groups so far.
- `operation_rules`: what each operation does to the draft.
- `build` goes through the operations and makes a template of what has been found.
"""

from nn_graphs.graphs.builder.build import build_template, without_fixed_neurons
from nn_graphs.graphs.builder.draft import Flattening
from nn_graphs.graphs.builder.from_spec import spec_operations, template_from_spec

__all__ = [
    "Flattening",
    "build_template",
    "spec_operations",
    "template_from_spec",
    "without_fixed_neurons",
]
