"""The variational graph auto-encoder: an encoder of any kind, and what its vectors are trained for.

Kipf and Welling, 2016 (arXiv:1611.07308), as StructureReps uses it. Two differences: mean and
variance are linear maps of the encoder's vectors, rather than convolutions of their own, so that
any encoder may stand in front; and the weights of edges may be decoded too.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.encoders.dropout import normal_noise
from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import Counts, EncodedGraphs, GraphFeatures, Graphs, Reads
from nn_graphs.encoders.pooling import Pooling, PoolingMethod
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.vgae.decoders import AdjacencyDecoder, WeightDecoder
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates

LOSS_NAMES = ("total", "adjacency", "weights", "divergence")
FEWEST_ALIKE = 4  # graphs of an architecture that are worth a stack of their own
MAX_LOG_VARIANCE = 20.0  # so that no exponential overflows


@dataclass(frozen=True)
class Latents:
    """Normal distributions, one per neuron and number.

    Attributes:
        encoded: what the encoder made, with the means in place of its vectors of neurons.
        log_variance: `[*B, num_nodes, latent_dim]`.
    """

    encoded: EncodedGraphs
    log_variance: Float[Tensor, "*B num_nodes latent_dim"]

    @property
    def mean(self) -> Float[Tensor, "*B num_nodes latent_dim"]:
        return self.encoded.nodes

    def sample(self) -> Float[Tensor, "*B num_nodes latent_dim"]:
        """One draw, differentiable in mean and variance; see `draws_generator`."""
        return self.mean + (self.log_variance / 2).exp() * normal_noise(self.mean)

    def divergence(self) -> Float[Tensor, "*B num_nodes"]:
        """Kullback-Leibler divergence from the standard normal distribution, per neuron."""
        excess = self.mean.square() + self.log_variance.exp() - 1 - self.log_variance
        return excess.sum(-1) / 2


@dataclass(frozen=True)
class VGAELosses:
    """Losses per graph, `[num_graphs]` each.

    Attributes:
        adjacency, weights: of the decoders; zeros where it counts for nothing.
        divergence: mean over the graph's neurons.
        total: what is trained, each times its factor.
    """

    adjacency: Float[Tensor, "num_graphs"]
    weights: Float[Tensor, "num_graphs"]
    divergence: Float[Tensor, "num_graphs"]
    total: Float[Tensor, "num_graphs"]


@registered("vgae")
class VGAE(nn.Module):
    """Neural graphs to a distribution per neuron, and back.

    As an encoder it gives the means, in training a draw.

    Args:
        encoder: any encoder of neural graphs.
        dims: sizes of the graphs.
        statistics: in the deviations of which weights are decoded; None: in units of 1.
        latent_dim: numbers per neuron.
        adjacency_factor: of the loss of `AdjacencyDecoder`.
        weight_factor: of the loss of `WeightDecoder`; 0: there is none, as published.
        kl_factor: of the divergence, which besides is divided by the number of neurons: with 1 the
            sum is the bound of the likelihood, per pair of neurons.
        all_pairs_below: see `AdjacencyDecoder`.
        hidden_dim: of `WeightDecoder`.
        pooling, pooled_layer: how the vectors of neurons become one of the graph, see `Pooling`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        dims: GraphDims,
        statistics: WeightStatistics | None = None,
        *,
        latent_dim: int = 16,
        adjacency_factor: float = 1.0,
        weight_factor: float = 0.0,
        kl_factor: float = 1.0,
        all_pairs_below: int = 512,
        hidden_dim: int = 32,
        pooling: PoolingMethod = "mean",
        pooled_layer: Literal["last", "all"] | int = "all",
    ):
        super().__init__()
        self.encoder = encoder
        self.node_dim, self.edge_dim = latent_dim, encoder.edge_dim
        self.adjacency_factor, self.weight_factor = adjacency_factor, weight_factor
        self.kl_factor = kl_factor
        self.mean = nn.Linear(encoder.node_dim, latent_dim)
        self.log_variance = nn.Linear(encoder.node_dim, latent_dim)
        self.adjacency = AdjacencyDecoder(all_pairs_below=all_pairs_below)
        self.weights = None
        if weight_factor:
            self.targets = _weights_of(dims, statistics)
            self.weights = WeightDecoder(latent_dim, dims.num_edge_values, hidden_dim=hidden_dim)
        self.pooling = Pooling(
            pooling,
            layer=pooled_layer,
            dims=dims,
            node_dim=latent_dim,
            edge_dim=encoder.edge_dim,
        )

    def forward(self, graphs: Graphs, *, reads: Reads = "edges") -> EncodedGraphs:
        latents = self.latents(graphs, reads=reads)
        if not self.training:
            return latents.encoded
        return EncodedGraphs(latents.encoded.graphs, latents.sample(), latents.encoded.edges)

    def latents(self, graphs: Graphs, *, reads: Reads = "nodes") -> Latents:
        """The distributions of all neurons."""
        encoded = self.encoder(graphs, reads=reads)
        means = EncodedGraphs(encoded.graphs, self.mean(encoded.nodes), encoded.edges)
        log_variance = self.log_variance(encoded.nodes).clamp_max(MAX_LOG_VARIANCE)
        return Latents(means, log_variance)

    @property
    def dims(self) -> GraphDims:
        """Sizes that it was made for."""
        return self.pooling.dims

    def embed(self, graphs: Graphs) -> Float[Tensor, "num_graphs out_dim"]:
        """One vector per graph, of the means; its size is `pooling.out_dim`."""
        return self.pooling(self.latents(graphs, reads=self.pooling.reads).encoded)

    def losses(self, graphs: Graphs, *, is_drawn: bool | None = None) -> VGAELosses:
        """What the graphs are decoded with, of one draw or of the means.

        Args:
            graphs: any.
            is_drawn: None: in training.
        """
        latents = self.latents(graphs)
        graphs = latents.encoded.graphs
        is_drawn = self.training if is_drawn is None else is_drawn
        drawn = latents.sample() if is_drawn else latents.mean
        num_nodes, divergence = _mean_per_graph(graphs, latents.divergence())
        adjacency = self.adjacency.loss(graphs, drawn)
        weights = torch.zeros_like(adjacency)
        if self.weights is not None:
            weights = self.weights.loss(graphs, drawn, self.targets.normalised_weights(graphs))
        total = (
            self.adjacency_factor * adjacency
            + self.weight_factor * weights
            + self.kl_factor * divergence / num_nodes
        )
        return VGAELosses(adjacency, weights, divergence, total)

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        """What the encoder says, if it says anything, and what the decoders tell."""
        count = getattr(self.encoder, "values_per_graph", None)
        values = None if count is None else count(num_nodes, num_edges)
        if values is None:
            return None
        decoded = 0 if self.weights is None else self.node_dim * num_edges
        below = self.adjacency.all_pairs_below
        pairs = (num_nodes < below) * num_nodes * num_nodes
        return values + decoded + pairs + (num_nodes >= below) * 2 * num_edges


class Reconstruction(nn.Module):
    """A VGAE as the model of a task: neural graphs to what they are decoded with.

    The columns are those of `VGAELosses`, the total first. Latents are drawn outside of training
    too, so that minus the total is the bound of the likelihood that is trained.

    Args:
        encoder: what is trained.
        mixed: what makes the batches of several architectures; those in which an architecture has
            `FEWEST_ALIKE` graphs or more, in the mean, are then computed as stacks.
    """

    def __init__(self, encoder: VGAE, *, mixed: MixedTemplates | None = None):
        super().__init__()
        self.encoder, self.mixed = encoder, mixed

    def forward(self, graphs: Graphs) -> Float[Tensor, "num_graphs 4"]:
        if not self._is_worth_stacks(graphs):
            return self._rows(graphs)
        numbers, stacks = zip(*self.mixed.stacks_of(graphs), strict=True)
        order = torch.cat(numbers).argsort().to(graphs.node_features.device)
        return torch.cat([self._rows(stack) for stack in stacks])[order]

    def _rows(self, graphs: Graphs) -> Float[Tensor, "num_graphs 4"]:
        losses = self.encoder.losses(graphs, is_drawn=True)
        return torch.stack([getattr(losses, name) for name in LOSS_NAMES], dim=-1)

    def _is_worth_stacks(self, graphs: Graphs) -> bool:
        if self.mixed is None or isinstance(graphs, NeuralGraphStack):
            return False
        if "template_id" not in graphs:
            return False
        kinds = graphs.template_id.unique().tolist()
        are_regular = all(self.mixed.templates[kind].has_regular_blocks for kind in kinds)
        return are_regular and graphs.num_graphs >= FEWEST_ALIKE * len(kinds)

    def as_encoder(self) -> VGAE:
        """What makes vectors of graphs."""
        return self.encoder

    def values_per_graph(self, num_nodes: Counts, num_edges: Counts) -> Counts | None:
        return self.encoder.values_per_graph(num_nodes, num_edges)


def _weights_of(dims: GraphDims, statistics: WeightStatistics | None) -> GraphFeatures:
    """Gives weights in units of their layer's deviation; no vectors."""
    return GraphFeatures(
        dims,
        statistics,
        node_dim=None,
        edge_dim=None,
        fourier_sigma=None,
        num_probes=0,
        has_activation_embedding=False,
    )


def _mean_per_graph(
    graphs: Graphs, values: Float[Tensor, "*B num_nodes"]
) -> tuple[Tensor, Float[Tensor, "num_graphs"]]:
    """How many neurons each graph has, and the mean of values over them."""
    if isinstance(graphs, NeuralGraphStack):
        count = torch.full((len(graphs),), values.shape[1], device=values.device)
        return count, values.mean(1)
    flat, graph_id = graphs.topology.flatten(values.unsqueeze(-1))
    count = torch.bincount(graph_id, minlength=graphs.num_graphs).clamp_min(1)
    total = flat.new_zeros(graphs.num_graphs).index_add(0, graph_id, flat.squeeze(-1))
    return count, total / count
