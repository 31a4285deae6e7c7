"""Layered graphs as data of torch-geometric, and back."""

import torch
from torch_geometric.data import Data

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.layered_graph import LayeredGraph


def layered_graph_data(graph: LayeredGraph) -> Data:
    """Edges `edge_index [2, num_edges]` and the layer of every node, `layer_id [num_nodes]`."""
    return Data(
        edge_index=torch.tensor([graph.sources.tolist(), graph.targets.tolist()]).long(),
        layer_id=torch.from_numpy(graph.layers).long(),
        num_nodes=graph.num_nodes,
    )


def layered_graph_of_data(data: Data) -> LayeredGraph:
    """The graph of data: with its layers where it has `layer_id`, else those of the longest path.

    Raises:
        NNGraphsError: it has no edges' ends, no node or a cycle, or an edge does not lead to a
            later layer.
    """
    edge_index, layers = data.get("edge_index"), data.get("layer_id")
    if edge_index is None:
        raise NNGraphsError(
            "read a layered graph from data",
            found=f"it has no edge_index, only {', '.join(data.keys()) or 'nothing'}.",
            do="Give the ends of the edges as edge_index [2, num_edges].",
        )
    return LayeredGraph.from_edges(
        *edge_index.cpu().numpy(),
        data.num_nodes,
        layers=None if layers is None else layers.cpu().numpy(),
    )
