"""Norms between the layers of NG-GNN: what tells neurons and graphs apart must pass through them.

| name | mean and deviation over | sees other graphs |
|---|---|---|
| `published` | all neurons and channels of the mini-batch, at prediction too | always |
| `running` | those of a chunk of the batch; at prediction running averages of these | in training |
| `graph` | all neurons and channels of a graph | never |
| `layer` | the channels of a neuron | never |
| `rms` | the channels of a neuron, by the root mean square alone | never |
| `none` | nothing: a learned factor that starts at 0.1 | never |

`published` is what the public code of Kofinas et al. (ICLR 2024) does: a graph norm that is not
told which neuron belongs to which graph, so that a prediction depends on what else is predicted.
"""

import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import check_known
from nn_graphs.graphs.topology import Topology

NormName = Literal["published", "running", "graph", "layer", "rms", "none"]
NORM_NAMES: tuple[str, ...] = get_args(NormName)
EPS = 1e-5
MOMENTUM = 0.1  # share of a batch in the running averages
FEWEST_GRAPHS = 16  # in a chunk that is normalised by its own mean and deviation
FIRST_FACTOR = 0.1  # of `none`

Nodes = Float[Tensor, "*B num_nodes dim"]


def make_norm(name: NormName, dim: int) -> nn.Module:
    """A module `(topology, nodes) -> nodes` of a name in the table above.

    Raises:
        NNGraphsError: there is no such norm.
    """
    check_known(name, NORM_NAMES, asked=f"normalise by {name!r}")
    makers = {
        "published": lambda: BatchNorm(dim),
        "running": lambda: RunningNorm(dim),
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

    As torch-geometric's `LayerNorm` in the mode "graph" is, where it is told of no graphs: what
    keeps the quotient finite is added to the deviation, not to the variance.
    """

    fewest_graphs = math.inf  # that must come together: the whole batch

    def forward(self, topology: Topology, nodes: Nodes) -> Nodes:
        centred = nodes - nodes.mean()
        deviation = centred.square().mean().sqrt()
        return centred / (deviation + EPS) * self.weight + self.bias


class RunningNorm(_Affine):
    """The same in training; at prediction by running averages, which no other graph changes.

    A chunk of a batch is normalised by its own mean and deviation (Hoffer et al., NeurIPS 2017,
    "ghost batches"), so chunks can be computed side by side; each enters the averages by its share
    of the batch, in the order of the chunks, see `averages_apart`.
    """

    def __init__(self, dim: int):
        super().__init__(dim)
        self.register_buffer("running_mean", torch.zeros(()))
        self.register_buffer("running_variance", torch.ones(()))

    @property
    def fewest_graphs(self) -> int:
        """That should come together, for their mean and deviation to tell of others."""
        return FEWEST_GRAPHS if self.training else 1

    def forward(self, topology: Topology, nodes: Nodes) -> Nodes:
        if not self.training:
            return self._scaled(nodes - self.running_mean, self.running_variance)
        mean = nodes.mean()
        centred = nodes - mean
        variance = centred.square().mean()
        if _apart.seen is None:
            self.update_averages(mean, variance)
        else:
            _apart.seen.append((self, mean.detach(), variance.detach()))
        return self._scaled(centred, variance)

    @torch.no_grad()
    def update_averages(self, mean: Tensor, variance: Tensor, *, share: float = 1.0) -> None:
        """Moves the averages towards the mean and variance of a share of a batch."""
        self.running_mean.lerp_(mean.to(self.running_mean), MOMENTUM * share)
        self.running_variance.lerp_(variance.to(self.running_variance), MOMENTUM * share)


Seen = tuple[RunningNorm, Tensor, Tensor]  # a norm, the mean and the variance of what it saw


class _Apart(threading.local):
    """What norms saw in this thread; None: it enters their averages at once."""

    seen: list[Seen] | None = None


_apart = _Apart()


@contextmanager
def averages_apart() -> Iterator[list[Seen]]:
    """Within it, in this thread, running averages stay as they are; gives what would change them.

    For chunks side by side, whose order is known when all are done: `update_averages`.
    """
    before, _apart.seen = _apart.seen, []
    try:
        yield _apart.seen
    finally:
        _apart.seen = before


def update_averages(seen: Sequence[Seen], *, share: float = 1.0) -> None:
    """Enters what norms saw of a share of a batch into their running averages."""
    for norm, mean, variance in seen:
        norm.update_averages(mean, variance, share=share)


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
