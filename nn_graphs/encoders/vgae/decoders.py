"""What vectors of neurons are trained to tell: which neurons are joined, and by which weights.

Both give a loss per graph. `AdjacencyDecoder` is that of Kipf and Welling, 2016, with pairs of
either kind counting alike, as in torch-geometric; `WeightDecoder` is ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import draws_generator
from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.vgae.pairs import NodePairs, pairs_of_stack
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.topology import Topology, on_edges


class AdjacencyDecoder(nn.Module):
    """Two neurons are joined with the probability `sigmoid(z_i . z_j)`.

    Args:
        all_pairs_below: in graphs of fewer neurons all pairs without an edge count; in others as
            many are drawn, anew each time, as there are pairs with one (one at least).
    """

    def __init__(self, *, all_pairs_below: int = 512):
        super().__init__()
        self.all_pairs_below = all_pairs_below

    def loss(
        self, graphs: Graphs, latents: Float[Tensor, "*B num_nodes latent_dim"]
    ) -> Float[Tensor, "num_graphs"]:
        """Binary cross entropy, the mean over pairs with an edge plus that over pairs without.

        A graph without pairs of a kind has 0 for it. Directions, parallel edges and weights do not
        count.
        """
        structure, num_graphs = graphs.structure, graphs.num_graphs
        if not isinstance(graphs, NeuralGraphStack):
            graph_id = graphs.topology.graph_id
            pairs = NodePairs(structure.edge_index, graph_id, num_graphs=num_graphs)
            return _loss(pairs, latents, self._of_each_graph(pairs))
        pairs = pairs_of_stack(graphs)
        if graphs.template.num_nodes < self.all_pairs_below:
            return _loss_of_all_pairs(pairs, latents)
        joined = _loss_of_edges(graphs, pairs, latents)
        return joined + _loss_of_drawn(pairs, latents, self._of_stack(pairs, num_graphs))

    def _of_each_graph(self, pairs: NodePairs) -> Tensor:
        """Numbers of pairs without an edge: of a small graph all, of a large one some."""
        is_small = pairs.num_nodes < self.all_pairs_below
        counts = torch.where(is_small, pairs.num_apart, _num_drawn(pairs))
        owner = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
        place = torch.arange(len(owner), device=counts.device)
        place = place - (counts.cumsum(0) - counts)[owner]
        drawn = _drawn(pairs.num_apart[owner])
        ranks = torch.where(is_small[owner], place, drawn)
        return pairs.apart(pairs.first_apart[owner] + ranks)

    def _of_stack(self, pairs: NodePairs, num_graphs: int) -> Tensor:
        """For every graph of a stack, numbers of as many pairs without an edge as with one."""
        shape = (num_graphs, int(_num_drawn(pairs)))
        return pairs.apart(_drawn(pairs.num_apart.expand(shape)))


class WeightDecoder(nn.Module):
    """The values of an edge, of the vectors of both of its neurons: two layers with silu.

    Args:
        latent_dim: of neurons.
        num_values: of an edge.
        hidden_dim: between the layers.
    """

    def __init__(self, latent_dim: int, num_values: int, *, hidden_dim: int = 32):
        super().__init__()
        self.from_source = nn.Linear(latent_dim, hidden_dim, bias=False)
        self.from_target = nn.Linear(latent_dim, hidden_dim)
        self.out = nn.Linear(hidden_dim, num_values)

    def forward(
        self, topology: Topology, latents: Float[Tensor, "*B num_nodes latent_dim"]
    ) -> Float[Tensor, "*B num_edges num_values"]:
        """
        Args:
            topology: of the graphs, along the edges alone.
            latents: of their neurons.
        """
        sources = topology.sources(self.from_source(latents))
        targets = topology.targets(self.from_target(latents))
        return topology.split(on_edges(self._decoded, sources, targets))[0]

    def loss(
        self,
        graphs: Graphs,
        latents: Float[Tensor, "*B num_nodes latent_dim"],
        weights: Float[Tensor, "*B num_edges num_values"],
    ) -> Float[Tensor, "num_graphs"]:
        """Mean squared error over the weights of each graph; a graph without weights has 0.

        Constant edges, and zeros around kernels, do not count.

        Args:
            graphs: what is decoded.
            latents: of their neurons.
            weights: what is to be found, in the units that it is to be found in.
        """
        errors = (self(graphs.topology, latents) - weights).square()
        is_value = _is_weight(graphs).expand(errors.shape).to(errors)
        errors = torch.stack([(errors * is_value).sum(-1), is_value.sum(-1)], dim=-1)
        total, count = _sum_per_graph(graphs, errors).unbind(-1)
        return total / count.clamp_min(1)

    def _decoded(self, source: Tensor, target: Tensor) -> Tensor:
        return self.out(F.silu(source + target))


def _num_drawn(pairs: NodePairs) -> Tensor:
    """How many pairs without an edge are drawn of each graph."""
    return torch.where(pairs.num_apart > 0, pairs.num_joined.clamp_min(1), 0)


def _drawn(counts: Tensor) -> Tensor:
    """For each count a whole number from 0 on and below it (0 for 0)."""
    draws = torch.rand(
        counts.shape,
        dtype=torch.float64,
        device=counts.device,
        generator=draws_generator(counts.device),
    )
    return torch.minimum((draws * counts).long(), (counts - 1).clamp_min(0))


def _loss(pairs: NodePairs, latents: Tensor, apart: Tensor) -> Float[Tensor, "num_graphs"]:
    """Of latents `[num_all_nodes, latent_dim]`."""
    total = latents.new_zeros(len(pairs.num_nodes))
    for numbers, sign in ((pairs.joined, -1), (apart, 1)):
        first, second = pairs.ends(numbers)
        logits = (latents[first] * latents[second]).sum(-1)
        graph = pairs.graph(numbers)
        count = torch.bincount(graph, minlength=len(total)).clamp_min(1)
        total = total.index_add(0, graph, F.softplus(sign * logits) / count[graph])
    return total


def _loss_of_all_pairs(pairs: NodePairs, latents: Tensor) -> Float[Tensor, "num_graphs"]:
    """Of a stack, `[B, num_nodes, latent_dim]`: products of all neurons are one matrix product.

    Minus the logarithm of a chance is `softplus(-x)`, which is `softplus(x) - x`: the function is
    computed of whole matrices, and nothing is gathered.
    """
    joined, apart = (shares.to(latents.dtype) for shares in pairs.shares)
    logits = (latents @ latents.mT).flatten(1)
    return F.softplus(logits) @ (joined + apart) - logits @ joined


def _loss_of_edges(
    graphs: NeuralGraphStack, pairs: NodePairs, latents: Tensor
) -> Float[Tensor, "num_graphs"]:
    """Of the pairs of a stack that have an edge; where each has one, by blocks of edges."""
    template = graphs.template
    num_joined = int(pairs.num_joined)
    if num_joined == template.num_edges and template.has_regular_blocks:
        topology = graphs.topology
        parts = topology.dot_products(latents, latents, num_heads=1)
        return sum(F.softplus(-part).flatten(1).sum(1) for part in parts) / max(1, num_joined)
    first, second = pairs.ends(pairs.joined)
    logits = (latents.index_select(1, first) * latents.index_select(1, second)).sum(-1)
    return F.softplus(-logits).sum(1) / max(1, num_joined)


def _loss_of_drawn(pairs: NodePairs, latents: Tensor, apart: Tensor) -> Float[Tensor, "num_graphs"]:
    """Of a stack, with pairs without an edge of each graph's own, `[B, count]`."""
    size, flat = latents.shape[1], latents.flatten(0, 1)
    start = torch.arange(len(latents), device=latents.device).unsqueeze(1) * size
    first, second = (flat.index_select(0, (start + ends).flatten()) for ends in pairs.ends(apart))
    logits = (first * second).sum(-1).view(apart.shape)
    return F.softplus(logits).sum(1) / max(1, apart.shape[1])


def _is_weight(graphs: Graphs) -> Tensor:
    """Which values of edges are weights, `[num_edges, 1]` or `[num_edges, num_values]`."""
    is_weight = (graphs.structure.edge_kind_id == 0).unsqueeze(-1)
    if isinstance(graphs, NeuralGraphStack):
        if graphs.kernel_size is None:
            return is_weight
        return is_weight & graphs.template.is_value(graphs.kernel_size, is_weight.device)
    is_value = graphs.is_value if "is_value" in graphs else None
    return is_weight if is_value is None else is_weight & is_value


def _sum_per_graph(
    graphs: Graphs, edges: Float[Tensor, "*B num_edges dim"]
) -> Float[Tensor, "num_graphs dim"]:
    if isinstance(graphs, NeuralGraphStack):
        return edges.sum(1)
    graph = graphs.topology.graph_id[graphs.edge_index[0]]
    return edges.new_zeros(graphs.num_graphs, edges.shape[-1]).index_add(0, graph, edges)
