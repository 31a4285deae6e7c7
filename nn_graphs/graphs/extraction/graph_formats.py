"""Extracted graphs for other programs: scipy, networkx, torch-geometric, GraphML and GEXF."""

from collections.abc import Callable
from pathlib import Path

import networkx as nx
import numpy as np
import torch
from scipy import sparse
from torch_geometric.data import Data

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.network_graph import NetworkGraph

WRITERS: dict[str, Callable] = {".graphml": nx.write_graphml, ".gexf": nx.write_gexf}


def to_edge_index(graph: NetworkGraph) -> np.ndarray:
    """`[2, num_edges]`: source and target of every edge."""
    return np.stack([graph.source, graph.target])


def to_scipy(graph: NetworkGraph, *, values: str = "weight") -> sparse.csr_array:
    """The adjacency matrix `[num_nodes, num_nodes]`, one row for each source.

    Args:
        graph: of any level.
        values: "weight", the sum of the weights of parallel edges; or "count", how many there are.

    Raises:
        NNGraphsError: values are to be something else.
    """
    if values not in ("weight", "count"):
        raise NNGraphsError(
            f"fill an adjacency matrix with {values!r}",
            found="edges have a weight, and can be counted.",
            do="Choose 'weight' or 'count'.",
        )
    data = graph.weight if values == "weight" else np.ones(graph.num_edges, dtype=np.int32)
    shape = graph.num_nodes, graph.num_nodes
    return sparse.csr_array(sparse.coo_array((data, (graph.source, graph.target)), shape=shape))


def to_geometric(graph: NetworkGraph) -> Data:
    """A torch-geometric graph.

    `x` `[num_nodes, 1]` holds the biases, `edge_attr` `[num_edges, 1]` the weights; beside them are
    `layer_id`, `kind_id`, `activation_id`, `is_output` of nodes, `parameter_id`, `kernel_position`
    and `argument_id` of edges.
    """
    return Data(
        x=torch.from_numpy(graph.bias()).unsqueeze(1),
        edge_index=torch.from_numpy(to_edge_index(graph).astype(np.int64)),
        edge_attr=torch.from_numpy(graph.weight).unsqueeze(1),
        layer_id=torch.from_numpy(graph.layer_id()),
        kind_id=torch.from_numpy(graph.kind_id()),
        activation_id=torch.from_numpy(graph.activation_id()),
        is_output=torch.from_numpy(graph.is_output()),
        parameter_id=torch.from_numpy(graph.parameter_id),
        kernel_position=torch.from_numpy(graph.kernel_position()),
        argument_id=torch.from_numpy(graph.argument()),
    )


def to_networkx(graph: NetworkGraph) -> nx.DiGraph:
    """A directed graph whose nodes are numbers; a multigraph where edges are parallel.

    Nodes have the attributes `layer`, `name`, `kind`, `activation`, `bias`, `bias_id` and
    `is_output`, edges `weight`, `parameter_id`, `kernel_position` and `argument`.
    """
    pairs = graph.source.astype(np.int64) * graph.num_nodes + graph.target
    is_simple = len(np.unique(pairs)) == graph.num_edges
    found = nx.DiGraph() if is_simple else nx.MultiDiGraph()
    found.graph["level"] = graph.level
    biases, ids = graph.bias().tolist(), graph.bias_id().tolist()
    for number, layer in enumerate(graph.layers):
        common = {
            "layer": number,
            "name": layer.name,
            "kind": layer.kind,
            "activation": str(layer.activation),
            "is_output": layer.is_output,
        }
        for node in range(layer.start, layer.stop):
            found.add_node(node, **common, bias=biases[node], bias_id=ids[node])
    columns = {
        "weight": graph.weight,
        "parameter_id": graph.parameter_id,
        "kernel_position": graph.kernel_position(),
        "argument": graph.argument(),
    }
    ends = zip(graph.source.tolist(), graph.target.tolist(), strict=True)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    found.add_edges_from(
        (*pair, dict(zip(columns, row, strict=True))) for pair, row in zip(ends, rows, strict=True)
    )
    return found


def write_graph(graph: NetworkGraph, path: str | Path) -> None:
    """Writes a graph as GraphML or GEXF, by the ending of the path; see `to_networkx`.

    Raises:
        NNGraphsError: the path has another ending, or its folder is not there.
    """
    path = Path(path)
    if path.suffix not in WRITERS or not path.parent.is_dir():
        has_writer = path.suffix in WRITERS
        raise NNGraphsError(
            f"write a graph to {path}",
            found=f"{path.parent} is no folder." if has_writer else "its format is unknown.",
            do="Make the folder."
            if has_writer
            else "Choose a name that ends in .graphml or .gexf.",
        )
    WRITERS[path.suffix](to_networkx(graph), path)
