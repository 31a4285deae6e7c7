"""Norms between the layers of NG-GNN: what tells neurons and graphs apart must pass through them.

| name | mean and deviation over | sees other graphs |
|---|---|---|
| `published` | all neurons and channels of the mini-batch, at prediction too | always |
| `running` | the same in training; at prediction running averages of these | in training |
| `graph` | all neurons and channels of a graph | never |
| `layer` | the channels of a neuron | never |
| `rms` | the channels of a neuron, by the root mean square alone | never |
| `none` | nothing: a learned factor that starts at 0.1 | never |

`published` is what the public code of Kofinas et al. (ICLR 2024) does: a graph norm that is not
told which neuron belongs to which graph, so that a prediction depends on what else is predicted.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import check_known
from nn_graphs.graphs.topology import Topology

NormName = Literal["published", "running", "graph", "layer", "rms", "none"]
NORM_NAMES: tuple[str, ...] = get_args(NormName)
NEEDS_WHOLE_BATCH = ("published", "running")
EPS = 1e-5
MOMENTUM = 0.1  # share of a batch in the running averages
FIRST_FACTOR = 0.1  # of `none`

Nodes = Float[Tensor, "*B num_nodes dim"]


def make_norm(name: NormName, dim: int) -> nn.Module:
    """A module `(topology, nodes) -> nodes` of a name in the table above.

    Raises:
        NNGraphsError: there is no such norm.
    """
    check_known(name, NORM_NAMES, asked=f"normalise by {name!r}")
    makers = {
        "published": lambda: BatchNorm(dim, has_running_averages=False),
        "running": lambda: BatchNorm(dim, has_running_averages=True),
        "graph": lambda: GraphNorm(dim),
        "layer": lambda: NeuronNorm(nn.LayerNorm(dim, eps=EPS)),
        "rms": lambda: NeuronNorm(nn.RMSNorm(dim, eps=EPS)),
        "none": lambda: Factor(),
    }
    return makers[name]()


class _Affine(nn.Module):
    """What follows a norm: a factor and a shift of each channel."""

    def __init__(self, dim: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))

    def _scaled(self, centred: Nodes, variance: Tensor) -> Nodes:
        return centred * (variance + EPS).rsqrt() * self.weight + self.bias


class GraphNorm(_Affine):
    """By mean and deviation over all neurons and channels of a graph."""

    def forward(self, topology: Topology, nodes: Nodes) -> Nodes:
        centred = nodes - topology.graph_mean(nodes.mean(-1, keepdim=True))
        variance = topology.graph_mean(centred.square().mean(-1, keepdim=True))
        return self._scaled(centred, variance)


class BatchNorm(_Affine):
    """By mean and deviation over all neurons and channels of all graphs that come together.

    Args:
        dim: number of channels.
        has_running_averages: normalise by averages over batches outside of training.
    """

    def __init__(self, dim: int, *, has_running_averages: bool):
        super().__init__(dim)
        self.has_running_averages = has_running_averages
        if has_running_averages:
            self.register_buffer("running_mean", torch.zeros(()))
            self.register_buffer("running_variance", torch.ones(()))

    def forward(self, topology: Topology, nodes: Nodes) -> Nodes:
        if self.has_running_averages and not self.training:
            return self._scaled(nodes - self.running_mean, self.running_variance)
        mean = nodes.mean()
        centred = nodes - mean
        variance = centred.square().mean()
        if self.has_running_averages:
            with torch.no_grad():
                self.running_mean.lerp_(mean.to(self.running_mean), MOMENTUM)
                self.running_variance.lerp_(variance.to(self.running_variance), MOMENTUM)
        return self._scaled(centred, variance)


class NeuronNorm(nn.Module):
    """Each neuron's channels by themselves."""

    def __init__(self, norm: nn.Module):
        super().__init__()
        self.norm = norm

    def forward(self, topology: Topology, nodes: Nodes) -> Nodes:
        return self.norm(nodes)


class Factor(nn.Module):
    """No norm: one learned factor, small at first, for layers whose result is added."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(FIRST_FACTOR))

    def forward(self, topology: Topology, nodes: Nodes) -> Nodes:
        return nodes * self.factor
