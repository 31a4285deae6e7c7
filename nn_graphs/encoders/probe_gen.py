"""ProbeGen: what networks answer to probes that a learned generator makes.

Kahana et al., ICLR 2025. Of INRs the probes are points, of classifiers images. Outputs at all
probes are read by a perceptron; if asked for, the hidden neurons' answers too, in the same forward
pass (as Sverdlov et al., 2026, do): each neuron's answers to all probes are a vector that follows
its sign and scale, which are forgotten before the mean over a layer is taken. No symmetry of a
network's parameters changes what is read.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.features import Counts, Graphs
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.neuron_factors import NeuronFactors
from nn_graphs.encoders.pooling import layer_means
from nn_graphs.encoders.probe_generators import ProbeForm, make_images, make_points
from nn_graphs.encoders.probe_only import check_shared_probes
from nn_graphs.encoders.probe_responses import Respondents
from nn_graphs.encoders.scale_nets import InvariantNet
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.graph_template import GraphTemplate


class ProbeGen(nn.Module):
    """A perceptron on the answers of networks to generated probes.

    Args:
        templates: the architectures of the networks.
        num_probes: how many; each network is run on all of them.
        probes: "deep_linear": by a generator; "free": parameters themselves.
        image_size: height and width of probes of networks of images; others take none.
        num_extra: convolutions of the generator of images more, see `GeneratedImages`.
        hidden_read_dim: of what is read of each hidden layer's answers; 0: of outputs alone.
        hidden_dims: sizes of the perceptron's hidden layers.
        dropout: behind each of them.
        out_dim: number of outputs.

    Attributes:
        num_queries: how often each network is run for an output.

    Raises:
        NNGraphsError: the architectures differ in their numbers of inputs or outputs, or can't be
            run.
    """

    reads_weights = False

    def __init__(
        self,
        templates: Sequence[GraphTemplate],
        *,
        num_probes: int = 64,
        probes: ProbeForm = "deep_linear",
        image_size: int = 32,
        num_extra: int = 0,
        hidden_read_dim: int = 0,
        hidden_dims: Sequence[int] = (256,) * 5,
        dropout: float = 0.0,
        out_dim: int,
    ):
        super().__init__()
        check_shared_probes(templates)
        self.respondents, self.dims = Respondents(templates), GraphDims.of(templates)
        self.num_queries, self.hidden_read_dim = num_probes, hidden_read_dim
        if self.respondents.takes_points:
            self.generator = make_points(probes, num_probes, self.dims.num_inputs)
        else:
            self.generator = make_images(
                probes, num_probes, self.dims.num_inputs, size=image_size, num_extra=num_extra
            )
        read_dim = num_probes * self.dims.num_outputs
        if hidden_read_dim:
            self.hidden_net = InvariantNet(num_probes, hidden_read_dim, hidden_read_dim)
            read_dim += self.dims.num_hidden_layers * hidden_read_dim
        self.mlp = make_mlp([read_dim, *hidden_dims, out_dim], dropout=dropout)

    def extra_repr(self) -> str:
        return f"num_queries={self.num_queries}"

    def forward(self, graphs: Graphs) -> Float[Tensor, "B out_dim"]:
        probes = self.generator()
        if not self.hidden_read_dim:
            return self.mlp(self.respondents.outputs(graphs, probes))
        answers = self.respondents.responses(graphs, probes)
        read = graphs.output_values(answers).reshape(graphs.num_graphs, -1)
        return self.mlp(torch.cat([read, self._hidden(graphs, answers)], dim=-1))

    def _hidden(
        self, graphs: Graphs, answers: Float[Tensor, "*B num_nodes num_probes"]
    ) -> Float[Tensor, "B read_dim"]:
        """Means over each hidden layer; zeros where a network has no such layer."""
        vectors = self.hidden_net(answers, NeuronFactors.of(graphs))
        means = layer_means(graphs, vectors, self.dims)
        return means.unflatten(1, (self.dims.num_layers, -1))[:, 1:-1].flatten(1)

    def queries(self) -> Float[Tensor, "num_probes ..."]:
        """What each network is run on."""
        return self.generator()

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        """Numbers that running a network at the probes gives.

        None for images: a batch then stays whole, for every part would make the images anew, which
        takes a third of the time that running 32 small networks on them does.
        """
        return num_nodes * self.num_queries if self.respondents.takes_points else None
