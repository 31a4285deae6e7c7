"""Pooling: the vectors of a graph's neurons, or edges, to one vector.

The options of the published code for graphs of one architecture (mean, max, cat, cat_mean, edges)
and of many (attention, set transformer, multiset transformer, cls token); a graph never sees
another's neurons, nor padding.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch_geometric.nn.aggr import (
    AttentionalAggregation,
    GraphMultisetTransformer,
    MaxAggregation,
    MeanAggregation,
    SetTransformerAggregation,
)

from nn_graphs.encoders.encoder_registry import registered
from nn_graphs.encoders.features import EncodedGraphs, Graphs, Reads
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.errors import NNGraphsError, check_known

PoolingMethod = Literal[
    "mean",
    "max",
    "cat",
    "cat_mean",
    "mean_edge",
    "max_edge",
    "attention",
    "set_transformer",
    "multiset_transformer",
    "cls_token",
]
SEED_VECTORS = 8  # of the multiset transformer
HEADS = 8  # of both


@registered("pooling")
class Pooling(nn.Module):
    """One vector per graph.

    Args:
        method: "cat" puts the neurons of the output layer (or of the one that `layer` names) behind
            each other, so it needs graphs with equally many of them; "cat_mean" the means of all
            layers; "mean_edge" and "max_edge" reduce edges, of a layer those into it; "cls_token"
            takes the vector that an `NGT` with a cls token gives every graph; the others reduce the
            chosen neurons.
        layer: "last" (output neurons), "all", or the number of a layer (0 = inputs).
        dims: sizes of the graphs.
        node_dim, edge_dim: sizes of the vectors.

    Raises:
        NNGraphsError: an unknown method or layer; graphs that the method cannot pool.
    """

    def __init__(
        self,
        method: PoolingMethod,
        *,
        layer: Literal["last", "all"] | int = "last",
        dims: GraphDims,
        node_dim: int,
        edge_dim: int,
    ):
        super().__init__()
        _check(method, layer, dims, node_dim)
        self.method, self.layer, self.dims = method, layer, dims
        sizes = {
            "cat": dims.num_outputs * node_dim,
            "cat_mean": dims.num_layers * node_dim,
            "mean_edge": edge_dim,
            "max_edge": edge_dim,
        }
        self.out_dim = sizes.get(method, node_dim)
        self.reads: Reads = _reads(method, layer)
        self.aggregation = _aggregation(method, node_dim)

    def forward(self, encoded: EncodedGraphs) -> Float[Tensor, "B out_dim"]:
        if self.method == "cls_token":
            return self._cls_token(encoded)
        if self.method == "cat":
            return self._concatenated(encoded)
        if self.method == "cat_mean":
            return layer_means(encoded.graphs, encoded.nodes, self.dims)
        topology, num_graphs = encoded.graphs.topology, encoded.graphs.num_graphs
        nodes, graph_id = topology.flatten(encoded.nodes)
        structure = encoded.graphs.structure
        num_copies = len(nodes) // len(structure.layer_id)
        if self.method in ("mean_edge", "max_edge"):
            edges = encoded.edges.reshape(-1, encoded.edges.shape[-1])
            sources = structure.edge_index[0].repeat(num_copies)
            owner = _edge_owner(sources, graph_id, len(structure.layer_id), num_copies)
            targets = self.dims.layer_row(structure)[structure.edge_index[1]]
            return self._of_layer(edges, owner, targets.repeat(num_copies), num_graphs)
        rows = self.dims.layer_row(structure).repeat(num_copies)
        return self._of_layer(nodes, graph_id, rows, num_graphs)

    def _of_layer(
        self,
        values: Float[Tensor, "all dim"],
        owner: Int[Tensor, "all"],
        rows: Int[Tensor, "all"],
        num_graphs: int,
    ) -> Float[Tensor, "B out_dim"]:
        """The values of the chosen layer, of each graph as one; rows say whose they are."""
        chosen = self._chosen(rows)
        if isinstance(self.layer, int):
            self._check_everywhere(owner[chosen], num_graphs)
        return self.aggregation(values[chosen], owner[chosen], dim_size=num_graphs)

    def _chosen(self, rows: Int[Tensor, "num_all_nodes"]) -> Bool[Tensor, "num_all_nodes"]:
        if self.layer == "all":
            return torch.ones_like(rows, dtype=torch.bool)
        return rows == (self.dims.num_layers - 1 if self.layer == "last" else self.layer)

    def _cls_token(self, encoded: EncodedGraphs) -> Float[Tensor, "B out_dim"]:
        if encoded.graph is None:
            raise NNGraphsError(
                "pool by 'cls_token'",
                found="the encoder gives graphs no vector of their own.",
                do="Use NGT(..., has_cls_token=True), or another method.",
            )
        return encoded.graph

    def _concatenated(self, encoded: EncodedGraphs) -> Float[Tensor, "B out_dim"]:
        graphs, outputs = encoded.graphs, encoded.graphs.output_values(encoded.nodes)
        num_outputs = outputs.shape[:-1].numel()
        expected = graphs.num_graphs * self.dims.num_outputs
        if num_outputs != expected:
            raise NNGraphsError(
                f"pool {graphs.num_graphs} graphs of {self.dims.num_outputs} outputs each by 'cat'",
                found=f"they have {num_outputs} output neurons instead of {expected}.",
                do="Use graphs with equally many outputs, or another method.",
            )
        return outputs.reshape(graphs.num_graphs, -1)

    def _check_everywhere(self, owner: Int[Tensor, "num_chosen"], num_graphs: int) -> None:
        num_without = int((torch.bincount(owner, minlength=num_graphs) == 0).sum())
        if num_without:
            raise NNGraphsError(
                f"pool {num_graphs} graphs over layer {self.layer}",
                found=f"{num_without} of them have no such layer.",
                do="Use layer='last' or 'all'.",
            )


def layer_means(
    graphs: Graphs, nodes: Float[Tensor, "*B num_nodes dim"], dims: GraphDims
) -> Float[Tensor, "B out_dim"]:
    """Means over the neurons of every layer, one behind the other; zeros where there is none."""
    flat, graph_id = graphs.topology.flatten(nodes)
    rows = dims.layer_row(graphs.structure)
    groups = graph_id * dims.num_layers + rows.repeat(len(flat) // len(rows))
    means = MeanAggregation()(flat, groups, dim_size=graphs.num_graphs * dims.num_layers)
    return means.reshape(graphs.num_graphs, -1)


def _reads(method: PoolingMethod, layer: str | int) -> Reads:
    if method in ("mean_edge", "max_edge"):
        return "edges"
    is_of_all = layer != "last" or method in ("cat_mean", "cls_token")
    return "nodes" if is_of_all else "outputs"


def _check(method: str, layer: str | int, dims: GraphDims, node_dim: int) -> None:
    asked = f"pool by {method!r} over layer {layer!r}"
    check_known(method, get_args(PoolingMethod), asked=asked)
    if layer not in ("last", "all", *range(dims.num_layers)):
        raise NNGraphsError(
            asked,
            found=f"the graphs have {dims.num_layers} layers.",
            do=f"Use 'last', 'all' or 0 to {dims.num_layers - 1}.",
        )
    if method == "cat" and layer != "last":
        raise NNGraphsError(
            asked,
            found="only output neurons have an order that no permutation changes.",
            do="Use layer='last', or another method.",
        )
    if method in ("mean_edge", "max_edge") and layer == 0:
        raise NNGraphsError(
            asked,
            found="no edge runs into the inputs.",
            do=f"Use 'last', 'all' or 1 to {dims.num_layers - 1}.",
        )
    if method in ("set_transformer", "multiset_transformer") and node_dim % HEADS:
        raise NNGraphsError(
            asked,
            found=f"its {HEADS} heads do not divide vectors of size {node_dim}.",
            do="Use another node_dim, or another method.",
        )


def _aggregation(method: PoolingMethod, dim: int) -> nn.Module | None:
    if method in ("mean", "cat_mean", "mean_edge"):
        return MeanAggregation()
    if method in ("max", "max_edge"):
        return MaxAggregation()
    if method == "attention":
        return AttentionalAggregation(
            nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))
        )
    if method == "set_transformer":
        return SetTransformerAggregation(
            dim, heads=HEADS, num_encoder_blocks=4, num_decoder_blocks=4
        )
    if method == "multiset_transformer":
        return GraphMultisetTransformer(dim, k=SEED_VECTORS, heads=HEADS)
    return None


def _edge_owner(
    sources: Int[Tensor, "num_all_edges"],
    graph_id: Int[Tensor, "num_all_nodes"],
    num_nodes: int,
    num_copies: int,
) -> Int[Tensor, "num_all_edges"]:
    """Which graph each edge belongs to."""
    copy = torch.arange(num_copies, device=sources.device)
    copy = copy.repeat_interleave(len(sources) // num_copies)
    return graph_id[sources + copy * num_nodes]
