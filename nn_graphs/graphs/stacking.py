"""Graphs of architectures that differ in their activations alone, as one stack.

So that a model of one architecture, which does not look at activations, can be trained on a zoo of
networks with relu and with tanh.
"""

from collections.abc import Sequence

import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.neural_graph import STRUCTURE_FIELDS, NeuralGraph, NeuralGraphStack
from nn_graphs.graphs.template import GraphTemplate

ACTIVATION_FIELDS = ("activation_id", "activation_parameter", "offset")
SHAPE_FIELDS = tuple(name for name in STRUCTURE_FIELDS if name not in ACTIVATION_FIELDS)


def are_alike(templates: Sequence[GraphTemplate]) -> bool:
    """Whether architectures have the same neurons, edges and kernels."""
    first, *others = templates
    shape = vars(first.structure())
    kernels = [block.kernel for block in first.blocks]
    return all(
        [block.kernel for block in other.blocks] == kernels
        and all(torch.equal(vars(other.structure())[name], shape[name]) for name in SHAPE_FIELDS)
        for other in others
    )


class AsStack(nn.Module):
    """Batches of graphs that are alike, as stacks of one of their templates; stacks stay.

    Args:
        template: whose activations the graphs then seem to have.
    """

    def __init__(self, template: GraphTemplate):
        super().__init__()
        self.template = template

    def forward(self, graphs: NeuralGraph | NeuralGraphStack) -> NeuralGraphStack:
        """
        Raises:
            NNGraphsError: a graph has other neurons or edges.
        """
        if isinstance(graphs, NeuralGraphStack):
            return graphs
        count, template = graphs.num_graphs, self.template
        self._check(graphs)
        return NeuralGraphStack(
            template,
            graphs.node_features.unflatten(0, (count, template.num_nodes)),
            graphs.edge_features.unflatten(0, (count, template.num_edges)),
            kernel_size=template.kernel_size or None,
        )

    def _check(self, graphs: NeuralGraph) -> None:
        count, template = graphs.num_graphs, self.template
        own = template.structure(graphs.edge_index.device).edge_index.unsqueeze(1)
        first = torch.arange(count, device=own.device).unsqueeze(1) * template.num_nodes
        found = graphs.edge_index.shape[1], graphs.edge_features.shape[-1]
        expected = count * template.num_edges, torch.Size(template.kernel_size).numel()
        if found != expected or not torch.equal(graphs.edge_index, (own + first).flatten(1)):
            raise NNGraphsError(
                f"stack {count} graphs with {template.num_nodes} neurons and "
                f"{template.num_edges} edges",
                found=f"the batch has {graphs.num_nodes} neurons and {found[0]} edges with "
                f"{found[1]} values each, not {expected[0]} with {expected[1]} in this order.",
                do="Choose an encoder of graphs, or a zoo of one architecture.",
            )
