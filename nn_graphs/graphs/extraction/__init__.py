"""Networks as graphs: any module that can be traced, at the level of units, neurons or layers.

    network = TracedNetwork(module, torch.zeros(1, 3, 32, 32))
    network.size("unit")            # exact, before anything is built
    graph = network.graph("unit")   # or extract_graph(module, inputs)
    to_scipy(graph), to_networkx(graph), to_geometric(graph), run_graph(graph, images)

Where things are, from the bottom up:

- `node_layers`, `axis_windows`, `edge_bundles`: layers of nodes, and edges before they are listed:
  arrays that broadcast, counted by arithmetic, written part by part.
- `block_weights`: where the weights of a block stand; `graph_plan`: all layers and bundles of a
  graph, and its size.
- `unit_values`, `unit_steps`, `unit_norms`, `unit_level`: from a template to the plan in which
  every element of a value is a node; `channel_levels`: a node for each channel, or each layer;
  `module_level`: for each call of a submodule.
- `module_stand_in`: what is traced in a module's place, so that the module stays as it is.
- `traced_network`: the way in; `network_graph`: what comes out.
- `graph_formats` and `edge_files` bring it elsewhere, `unit_execution` runs it, and
  `network_of_graph` makes a network of it again.
"""

from nn_graphs.graphs.extraction.edge_files import EdgeFile, stream_edges
from nn_graphs.graphs.extraction.graph_formats import (
    to_edge_index,
    to_geometric,
    to_networkx,
    to_scipy,
    write_graph,
)
from nn_graphs.graphs.extraction.graph_plan import GraphSize
from nn_graphs.graphs.extraction.network_graph import NetworkGraph
from nn_graphs.graphs.extraction.network_of_graph import to_dag_network
from nn_graphs.graphs.extraction.traced_network import LEVELS, TracedNetwork, extract_graph
from nn_graphs.graphs.extraction.unit_execution import node_values, run_graph

__all__ = [
    "LEVELS",
    "EdgeFile",
    "GraphSize",
    "NetworkGraph",
    "TracedNetwork",
    "extract_graph",
    "node_values",
    "run_graph",
    "stream_edges",
    "to_dag_network",
    "to_edge_index",
    "to_geometric",
    "to_networkx",
    "to_scipy",
    "write_graph",
]
