"""nn_graphs: learning from the weights of neural networks."""

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.neural_graph import NeuralGraph, NeuralGraphStack
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.graphs.trace import trace
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec
from nn_graphs.zoos.zoo import Zoo

__all__ = [
    "ConvSpec",
    "GraphTemplate",
    "LayerSpec",
    "NNGraphsError",
    "NetworkSpec",
    "NeuralGraph",
    "NeuralGraphStack",
    "Zoo",
    "template_from_spec",
    "trace",
]
__version__ = "0.1.0"
