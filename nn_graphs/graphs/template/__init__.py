"""Graph templates: one architecture compiled once, so that any weights become a graph by copying.

A template knows the groups of neurons, the blocks of edges between them, and which slice of the
flat parameter vector each of them shows. Edges are ordered by block; within a dense block the edge
from source neuron i to target neuron o is number `o * num_sources + i`, torch's `[out, in]`, so a
block's features are a contiguous slice of the parameters and back.

The kernel of a convolution is stored at its own size: the features of the edges are then
`[num_values, 1]`, edge after edge, and `centred` brings all to one size `[num_edges, prod(size)]`.

Where things are: `features` makes graphs of parameters, `inversion` reads parameters from graphs,
`places` knows which parameter stands where, `structure` makes ids and edges.
"""

from nn_graphs.graphs.template.graph_template import GraphTemplate

__all__ = ["GraphTemplate"]
