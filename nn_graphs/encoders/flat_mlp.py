"""The baseline that knows no symmetry: a multilayer perceptron on the flattened parameters."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack


class FlatMLP(nn.Module):
    """Linear layers with relu and dropout between, on all parameters of a network at once.

    Args:
        template: the one architecture of all networks.
        statistics: what weights and biases are normalised by; None: nothing.
        hidden_dims: sizes of the hidden layers.
        dropout: behind each hidden layer.
        out_dim: number of outputs.
    """

    def __init__(
        self,
        template: GraphTemplate,
        statistics: WeightStatistics | None = None,
        *,
        hidden_dims: Sequence[int] = (256, 256),
        dropout: float = 0.2,
        out_dim: int,
    ):
        super().__init__()
        dims = GraphDims.of([template])
        mean, std = (statistics or WeightStatistics.identity(dims)).per_parameter(template, dims)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.mlp = make_mlp([template.num_params, *hidden_dims, out_dim], dropout=dropout)

    def forward(self, graphs: NeuralGraphStack) -> Float[Tensor, "B out_dim"]:
        return self.mlp((graphs.params - self.mean) / self.std)
