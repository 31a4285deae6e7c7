"""Which parameter each neuron and each value on an edge shows: found by the template's own copying.

Numbers stand in the place of parameters: whatever a template does to these is done to them.
"""

import torch
from jaxtyping import Int
from torch import Tensor

from nn_graphs.graphs.graph_template import GraphTemplate


def parameter_numbers(
    template: GraphTemplate,
) -> tuple[Int[Tensor, "num_nodes"], Int[Tensor, "num_values"]]:
    """The number of each neuron's bias, and of the parameter of each value on edges; -1: none."""
    numbers = torch.arange(1, template.num_params + 1, dtype=torch.float64).unsqueeze(0)
    shown = template.stack(numbers)
    is_weight = torch.zeros(template.num_values, dtype=torch.bool)
    for block in template.blocks:
        is_weight[block.first_value : block.last_value] = block.weight is not None
    neurons, values = shown.node_features[0, :, 0], shown.edge_features[0, :, 0]
    return neurons.long() - 1, torch.where(is_weight, values, 0).long() - 1
