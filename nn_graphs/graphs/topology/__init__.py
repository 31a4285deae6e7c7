"""Topologies: the few primitives that message passing needs, so that encoders are written once.

Values on neurons are one tensor, values on edges a tuple of parts, whose layout is the topology's
own business: `on_edges` applies a function part by part, and the values of the neurons at the ends
of edges come in shapes that broadcast against them. Three implementations, equal to rounding:

- `LayeredTopology`: graphs of one architecture. Nodes are `[B, num_nodes, dim]`; every dense block
  of edges is a part `[B, num_targets, num_sources, dim]`, every diagonal one `[B, length, dim]`. A
  neuron's value reaches its edges by broadcasting, edges reach their neuron along an axis.
- `EdgeListTopology`: any mix of architectures. Nodes are `[num_nodes, dim]` of all graphs of a
  batch, edges one part `[num_directed, dim]`.
- `CompleteTopology`: all pairs of neurons of a graph, for the published relational transformer.
  Nodes are `[B, max_nodes, dim]`, edges one part `[B, receivers, senders, dim]`.

An edge carries messages in both directions (or, on request, only forward): the parts of all edges
as the graph has them come first, then those of all edges reversed. "Source" and "target" are meant
in the direction of the message. No value ever crosses from one graph of a batch to another.

`EdgeChannels` are weights as messages carry them, and `attend` is attention over messages, in any
of these; where neurons of whole layers meet, as products of matrices.
"""

from nn_graphs.graphs.topology.attention import attend, attend_to_edges
from nn_graphs.graphs.topology.complete import CompleteTopology
from nn_graphs.graphs.topology.edge_channels import EdgeChannels
from nn_graphs.graphs.topology.edge_list import EdgeListTopology
from nn_graphs.graphs.topology.layered import LayeredTopology
from nn_graphs.graphs.topology.primitives import (
    EdgeValues,
    MessageStatistics,
    NodeValues,
    Topology,
    on_edges,
)

__all__ = [
    "CompleteTopology",
    "EdgeChannels",
    "EdgeListTopology",
    "EdgeValues",
    "LayeredTopology",
    "MessageStatistics",
    "NodeValues",
    "Topology",
    "attend",
    "attend_to_edges",
    "on_edges",
]
