"""Probe-only: what networks put out at learned inputs, then a multilayer perceptron.

For functions of coordinates, as INRs are, a few dozen well chosen points are a strong and nearly
free description (Kahana et al., ICLR 2025, "ProbeGen", study such probes; theirs come from a
generator network, see `probe_gen`, these are free parameters). No weight is looked at, so that
every symmetry of a network's parameters leaves the outputs as they are.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.features import Counts, Graphs
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.execution import execute
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.node_groups import NeuronKind


class ProbeOnly(nn.Module):
    """A multilayer perceptron on the outputs of networks at learned inputs.

    Args:
        templates: the architectures of the networks.
        num_probes: how many inputs; they begin uniformly in [-1, 1], where INRs are fitted.
        hidden_dims: sizes of the hidden layers.
        dropout: behind each hidden layer.
        out_dim: number of outputs.

    Raises:
        NNGraphsError: the architectures differ in their numbers of inputs or outputs, or cannot be
            run at points.
    """

    reads_weights = False

    def __init__(
        self,
        templates: Sequence[GraphTemplate],
        *,
        num_probes: int = 64,
        hidden_dims: Sequence[int] = (256, 256),
        dropout: float = 0.0,
        out_dim: int,
    ):
        super().__init__()
        check_shared_probes(templates)
        dims = GraphDims.of(templates)
        dims.check_probes()
        self.probes = nn.Parameter(torch.empty(num_probes, dims.num_inputs).uniform_(-1, 1))
        self.mlp = make_mlp([num_probes * dims.num_outputs, *hidden_dims, out_dim], dropout=dropout)

    def forward(self, graphs: Graphs) -> Float[Tensor, "B out_dim"]:
        outputs = graphs.output_values(execute(graphs, self.probes))  # [*B, outputs, num_probes]
        return self.mlp(outputs.reshape(graphs.num_graphs, -1))

    def queries(self) -> Float[Tensor, "num_probes num_inputs"]:
        """Where each network is run."""
        return self.probes

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts:
        """Numbers that running a network at the probes gives."""
        return num_nodes * len(self.probes)


def check_shared_probes(templates: Sequence[GraphTemplate]) -> None:
    """Makes sure that networks can be run on the same inputs, and have as many outputs.

    Raises:
        NNGraphsError: the architectures differ in their numbers of inputs or outputs.
    """
    for kind in (NeuronKind.INPUT, NeuronKind.OUTPUT):
        _check_equal(kind, {template.num_neurons(kind) for template in templates})


def _check_equal(kind: NeuronKind, counts: set[int]) -> None:
    if len(counts) > 1:
        raise NNGraphsError(
            "probe networks at shared inputs",
            found=f"they have {', '.join(map(str, sorted(counts)))} {kind.name.lower()} neurons.",
            do="Use networks with equally many inputs and outputs, or an encoder of graphs.",
        )
