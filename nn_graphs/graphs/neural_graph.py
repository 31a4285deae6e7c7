"""Neural graphs: one network as a torch-geometric `Data`, or a batch of any networks.

Neurons (channels) are nodes, weights (kernels) are edges from input to output, biases are node
features (Kofinas et al., ICLR 2024, sec. 3). Stacks of graphs of one architecture are beside the
template that makes them, in `graph_template.py`.
"""

from collections.abc import Sequence
from copy import copy

from jaxtyping import Float
from torch import Tensor
from torch.utils.data._utils.collate import default_collate_fn_map
from torch_geometric.data import Batch, Data

from nn_graphs.graphs.graph_structure import STRUCTURE_FIELDS, GraphStructure
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.topology import EdgeListTopology


class NeuralGraph(Data):
    """One neural graph, or a torch-geometric batch of them.

    Beside the fields of `GraphStructure` (in a batch, `edge_index` is offset as usual) it has

    - `x [num_nodes, node_dim]`, also `node_features`: the bias of each neuron, 0 where it has none;
    - `edge_attr [num_edges, edge_dim]`, also `edge_features`: the weight of each edge, or a kernel
      in the middle of the largest one; always one row an edge;
    - `factor_id [num_nodes]`, of graphs that a template made: by what each neuron may be multiplied
      (`GraphTemplate.factor_id`);
    - `is_value [num_edges, edge_dim]`, of networks with kernels: which values are the kernels' own,
      and not zeros around them;
    - `unshown [num_unshown]`, of graphs that a template made: the parameters that no neuron and no
      edge shows, none mostly, so that `GraphTemplate.invert` gives back all.

    No field's name contains "index" or "batch" but `edge_index`, so that torch-geometric leaves the
    ids as they are when it batches graphs.

    Example:
        The INR 2-3-1 has 6 nodes and 9 edges: nodes 0 and 1 are the inputs, 2 to 4 hidden, 5 the
        output; `edge_index[:, :6]` runs from 0 and 1 to 2, 3 and 4, the rest from these to 5.
    """

    @classmethod
    def make(
        cls,
        structure: GraphStructure,
        *,
        node_features: Float[Tensor, "num_nodes node_dim"],
        edge_features: Float[Tensor, "num_edges edge_dim"],
    ) -> "NeuralGraph":
        fields = structure.tensors()
        return cls(
            x=node_features,
            edge_attr=edge_features,
            num_nodes=len(node_features),
            **fields,
        )

    @property
    def node_features(self) -> Float[Tensor, "num_nodes node_dim"]:
        return self.x

    @property
    def edge_features(self) -> Float[Tensor, "num_edges edge_dim"]:
        return self.edge_attr

    def output_values(
        self, nodes: Float[Tensor, "num_nodes dim"]
    ) -> Float[Tensor, "num_outputs dim"]:
        """Of values on all neurons, those on the output neurons of all graphs."""
        return nodes[self.kind_id == NeuronKind.OUTPUT.value]

    def with_features(self, node_features: Tensor, edge_features: Tensor) -> "NeuralGraph":
        """The same graph, or batch, with other biases and weights."""
        changed = copy(self)
        changed.x, changed.edge_attr = node_features, edge_features
        return changed

    @property
    def num_graphs(self) -> int:
        return 1

    @property
    def structure(self) -> GraphStructure:
        return GraphStructure(**{name: self[name] for name in STRUCTURE_FIELDS})

    @property
    def topology(self) -> EdgeListTopology:
        """Message passing over an edge list, of any mix of architectures."""
        graph_id = self.batch if "batch" in self and self.batch is not None else None
        if graph_id is None:
            graph_id = self.edge_index.new_zeros(self.num_nodes)
        return EdgeListTopology(self.structure, graph_id)


def _as_batch(graphs: Sequence[NeuralGraph], *, collate_fn_map: dict | None = None) -> NeuralGraph:
    return Batch.from_data_list(list(graphs))


# So that torch's own DataLoader, too, makes batches of graphs without being told how; documented
# at `torch.utils.data.default_collate`.
default_collate_fn_map[NeuralGraph] = _as_batch
