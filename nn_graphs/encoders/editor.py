"""Editors: models that read networks and write networks that do something else.

Kofinas et al., ICLR 2024, sec. 5.1; several networks for each, whose outputs are averaged, as in
output-capacity expansion.
"""

from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.equivariant.head import EquivariantHead
from nn_graphs.encoders.features import Counts
from nn_graphs.encoders.heads import ParameterHead
from nn_graphs.encoders.scale_head import ScaleParameterHead
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import NeuralGraphStack


class Editor(nn.Module):
    """An encoder, a head of new graphs, and the way back to parameters.

    Args:
        encoder: of neural graphs, with vectors for neurons and edges.
        head: encoded graphs to graphs: a `ParameterHead`, an `EquivariantHead` or a
            `ScaleParameterHead`.
        num_values_read: numbers per network that whoever runs the new networks passes from layer to
            layer; batches are divided by what needs more, that or the encoder.

    Raises:
        NNGraphsError: (forward) the graphs are of several architectures.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: ParameterHead | EquivariantHead | ScaleParameterHead,
        *,
        num_values_read: int = 0,
    ):
        super().__init__()
        self.encoder, self.head, self.num_values_read = encoder, head, num_values_read

    def forward(self, graphs: NeuralGraphStack) -> Float[Tensor, "B copies num_params"]:
        """The parameters of the new networks, as many for each as the head has copies."""
        if not isinstance(graphs, NeuralGraphStack):
            raise NNGraphsError(
                "edit a batch of graphs",
                found="they may be of several architectures, and have no parameters in one tensor.",
                do="Give a stack of graphs of one template.",
            )
        edited = self.head(self.encoder(graphs, reads=self.head.reads))
        num_copies = self.head.new.num_copies
        base = graphs.params.repeat_interleave(num_copies, dim=0)
        return graphs.template.invert(edited, base=base).unflatten(0, (-1, num_copies))

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        """Numbers that are passed from layer to layer for a graph; None where it is not known."""
        count = getattr(self.encoder, "values_per_graph", None)
        values = None if count is None else count(num_nodes, num_edges)
        return None if values is None else max(values, self.num_values_read)
