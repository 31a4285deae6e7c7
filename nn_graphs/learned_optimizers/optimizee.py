"""What an update may know of the networks that it trains: tensors, and where graphs show them."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.parameter_numbers import parameter_numbers
from nn_graphs.networks.parameters import ParameterLayout, ParameterSlot
from nn_graphs.networks.spec import NetworkSpec


@dataclass(frozen=True)
class ParameterNumbers:
    """Which parameter each neuron and each value on an edge shows, and the way back.

    Attributes:
        of_neuron: number of a neuron's bias; 0 where it has none.
        of_value: number of the parameter of each value on edges; 0 where it is a constant.
        is_bias, is_weight: where there is one.
        row: for every parameter, its neuron, or the number of neurons plus its edge; the first
            place of tied weights.
        is_shown: which parameters the graph shows.
    """

    of_neuron: Int[Tensor, "num_nodes"]
    of_value: Int[Tensor, "num_values"]
    is_bias: Bool[Tensor, "num_nodes"]
    is_weight: Bool[Tensor, "num_values"]
    row: Int[Tensor, "num_params"]
    is_shown: Bool[Tensor, "num_params"]

    @classmethod
    def of(cls, template: GraphTemplate) -> "ParameterNumbers":
        """Found by the template's own copying, of numbers instead of parameters."""
        neurons, values = parameter_numbers(template)
        rows = torch.arange(template.num_nodes, dtype=torch.float64).view(1, -1, 1)
        edges = (template.num_nodes + template.edge_of_value).double().view(1, -1, 1)
        none = rows.new_zeros(1, template.num_unshown)
        row = template.invert(NeuralGraphStack(template, rows, edges, unshown=none))[0].long()
        of_neuron, of_value = neurons.clamp_min(0), values.clamp_min(0)
        return cls(of_neuron, of_value, neurons >= 0, values >= 0, row, template.is_shown)


@dataclass(frozen=True, eq=False)
class Optimizee:
    """Networks of one architecture, as an update sees them.

    Attributes:
        layout: their tensors in the flat vector.
        template: of their neural graphs; None: updates that read graphs refuse them.
    """

    layout: ParameterLayout
    template: GraphTemplate | None = None

    @staticmethod
    @lru_cache(maxsize=256)
    def of_spec(spec: NetworkSpec) -> "Optimizee":
        """Networks of an architecture that is given as data."""
        return Optimizee(spec.parameters, template_from_spec(spec))

    @lru_cache(maxsize=8)  # noqa: B019 (an optimizee lives as long as what it is of)
    def numbers(self, device: torch.device) -> ParameterNumbers:
        """Which parameter is shown where, as tensors on a device.

        Raises:
            NNGraphsError: there is no template.
        """
        if self.template is None:
            raise NNGraphsError(
                "update networks by their neural graphs",
                found="their parameters are known, but not how they are connected.",
                do="Give example_inputs, by which the module is traced.",
            )
        found = ParameterNumbers.of(self.template)
        return ParameterNumbers(*(value.to(device) for value in vars(found).values()))

    def tensors(self, params: Float[Tensor, "S P"]) -> list[tuple[ParameterSlot, Tensor]]:
        """Every slot with its part of the vectors, `[S, *shape]`."""
        return [(slot, self.layout.view(params, slot)) for slot in self.layout.slots]
