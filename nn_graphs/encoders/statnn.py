"""StatNN: seven statistics of every weight and bias tensor, then a multilayer perceptron.

Unterthiner et al., 2020 (arXiv 2002.11448), sec. 3: mean, variance and the quantiles 0, 25, 50, 75
and 100 %. None of them changes when neurons are permuted, so this is the simplest invariant model.

Two differences from the baselines that later papers train: features are standardised by those of
the training networks, and tensors are told apart by layer, so that networks of different depth go
into one model (what a network does not have counts as an average value). All weights into one layer
are one tensor, which in a chain of layers they are anyway.
"""

from collections.abc import Iterable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nn_graphs.encoders.features import Graphs
from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.encoders.statistics import CONSTANT, GraphDims
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph

QUANTILES = (0.0, 0.25, 0.5, 0.75, 1.0)
NUM_STATISTICS = 2 + len(QUANTILES)


class StatNN(nn.Module):
    """A multilayer perceptron on statistics of the tensors of a network.

    Args:
        templates: the architectures of the networks; the largest decides on the number of layers.
        training_graphs: batches of the networks whose features have mean 0 and deviation 1 after
            standardisation; none: features stay as they are.
        hidden_dims: sizes of the hidden layers.
        dropout: behind each hidden layer.
        out_dim: number of outputs.
    """

    def __init__(
        self,
        templates: Sequence[GraphTemplate],
        training_graphs: Iterable[Graphs] = (),
        *,
        hidden_dims: Sequence[int] = (1000, 1000),
        dropout: float = 0.0,
        out_dim: int,
    ):
        super().__init__()
        self.dims = GraphDims.of(templates)
        mean, std = _mean_and_std(training_graphs, self.dims)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.mlp = make_mlp([mean.numel(), *hidden_dims, out_dim], dropout=dropout)

    def forward(self, graphs: Graphs) -> Float[Tensor, "B out_dim"]:
        values, is_there = tensor_statistics(graphs, self.dims)
        features = torch.where(is_there.unsqueeze(-1), (values - self.mean) / self.std, 0.0)
        return self.mlp(features.flatten(1))


def tensor_statistics(
    graphs: Graphs, dims: GraphDims
) -> tuple[Float[Tensor, "B tensors statistics"], Bool[Tensor, "B tensors"]]:
    """Mean, variance and quantiles of the tensors of each network, and which of them it has.

    Tensors are the weights into each layer behind the inputs, then the biases of these layers.
    """
    if isinstance(graphs, NeuralGraphStack):
        return _statistics_of_stack(graphs, dims)
    return _statistics_of_batch(graphs, dims)


def _statistics_of_stack(graphs: NeuralGraphStack, dims: GraphDims) -> tuple[Tensor, Tensor]:
    """Tensor by tensor; each is a slice."""
    template, graphs = graphs.template, graphs.with_own_kernels()
    rows = dims.layer_row(template.structure()).tolist()
    num_layers = dims.num_layers - 1
    tensors: list[list[Tensor]] = [[] for _ in range(2 * num_layers)]
    weights, biases = graphs.edge_features.squeeze(-1), graphs.node_features.squeeze(-1)
    for block in template.blocks:
        if block.is_dense:
            layer = rows[template.groups[block.target].start] - 1
            tensors[layer].append(weights[:, block.first_value : block.last_value])
    for group in template.groups:
        if group.bias is not None:
            layer = num_layers + rows[group.start] - 1
            tensors[layer].append(biases[:, group.start : group.stop])
    nothing = weights.new_zeros(len(graphs), NUM_STATISTICS)
    values = [
        _statistics_of_rows(torch.cat(parts, dim=1)) if parts else nothing for parts in tensors
    ]
    is_there = torch.tensor([bool(parts) for parts in tensors], device=weights.device)
    return torch.stack(values, dim=1), is_there.expand(len(graphs), -1)


def _statistics_of_rows(values: Float[Tensor, "B size"]) -> Float[Tensor, "B statistics"]:
    variance, mean = torch.var_mean(values, dim=1, correction=0)
    count = torch.full((len(values),), values.shape[1], device=values.device)
    quantiles = _quantiles(values.sort(dim=1).values.flatten(), count)
    return torch.cat([mean.unsqueeze(1), variance.unsqueeze(1), quantiles], dim=1)


def _statistics_of_batch(graphs: NeuralGraph, dims: GraphDims) -> tuple[Tensor, Tensor]:
    """All tensors of all networks at once, as runs of one sorted sequence."""
    structure, graph_id = graphs.structure, graphs.topology.graph_id
    layer, num_layers = dims.layer_row(structure) - 1, dims.num_layers - 1
    first = 2 * num_layers * graph_id  # number of a graph's first tensor
    is_weight = (structure.edge_kind_id == 0).unsqueeze(1)
    is_own = is_weight & graphs.is_value if "is_value" in graphs else is_weight
    tensor = (first + layer)[structure.edge_index[1]].unsqueeze(1).expand_as(is_own)
    owner = torch.cat([tensor[is_own], (first + num_layers + layer)[structure.has_bias]])
    biases = graphs.node_features.squeeze(-1)
    values = torch.cat([graphs.edge_features[is_own], biases[structure.has_bias]])

    num_tensors = 2 * num_layers * graphs.num_graphs
    count = torch.bincount(owner, minlength=num_tensors)
    divisor, zeros = count.clamp_min(1), values.new_zeros(num_tensors)
    mean = zeros.index_add(0, owner, values) / divisor
    variance = zeros.index_add(0, owner, (values - mean[owner]).square()) / divisor
    order = values.argsort()
    order = order[owner[order].argsort(stable=True)]
    quantiles = _quantiles(values[order], count)
    found = torch.cat([mean.unsqueeze(1), variance.unsqueeze(1), quantiles], dim=1)
    shape = (graphs.num_graphs, 2 * num_layers)
    return found.unflatten(0, shape), (count > 0).unflatten(0, shape)


def _quantiles(
    values: Float[Tensor, "all"], count: Int[Tensor, "runs"]
) -> Float[Tensor, "runs quantiles"]:
    """Linearly interpolated quantiles of runs of sorted values; of an empty run, anything."""
    last = (count - 1).clamp_min(0).unsqueeze(1)
    place = last * torch.tensor(QUANTILES, dtype=torch.float64, device=values.device)
    start = (count.cumsum(0) - count).unsqueeze(1)
    below, above = (
        values[(start + side.long()).clamp_max(len(values) - 1)]
        for side in (place.floor(), place.ceil())
    )
    return torch.lerp(below, above, (place - place.floor()).to(values.dtype))


def _mean_and_std(
    batches: Iterable[Graphs], dims: GraphDims
) -> tuple[Float[Tensor, "tensors statistics"], Float[Tensor, "tensors statistics"]]:
    """Of every feature, over the networks that have it; 0 and 1 where none does.

    The deviation is 1 where all values are the same, up to rounding.
    """
    found = [tensor_statistics(graphs, dims) for graphs in batches]
    shape = (2 * (dims.num_layers - 1), NUM_STATISTICS)
    if not found:
        return torch.zeros(shape), torch.ones(shape)
    values = torch.cat([values for values, _ in found]).double()
    is_there = torch.cat([there for _, there in found]).unsqueeze(-1)
    count = is_there.sum(0).clamp_min(1)
    mean = torch.where(is_there, values, 0.0).sum(0) / count
    variance = torch.where(is_there, (values - mean).square(), 0.0).sum(0) / count
    is_constant = variance <= CONSTANT * (variance + mean.square())
    return mean.float(), torch.where(is_constant, 1.0, variance).sqrt().float()
