"""What the published code of deepstruct computes for a directed acyclic graph, beside its paper.

Every skip has a nonlinearity of its own, and they are added up:

    y_l = act([norm](W_l y_{l-1} + b_l)) + sum over skips j -> l of act(W_jl y_j + b_jl).

Inputs reach the first layer, outputs read the last one alone. Here too a layer takes one product
for all skips that leave it.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.networks.activations import Activation, ActivationModule
from nn_graphs.networks.dag.dag_network import draw_by_degree, flat_inputs
from nn_graphs.networks.dag.layer_reading import read_layers
from nn_graphs.networks.masked import MaskedLinear
from nn_graphs.structure.layered_graph import LayeredGraph


class ReleasedDAGNetwork(nn.Module):
    """The released variant of a `DAGNetwork`.

    Args:
        structure: one node a neuron.
        in_features, out_features: inputs and outputs.
        activation: of all neurons but the outputs.
        has_norm: whether the part that comes from the layer before has a layer norm, but in the
            first layer.
        generator: of the initial values; torch's own where None.

    Attributes:
        first, last: dense, from the inputs and to the outputs.
        steps: masked, from each layer to the next.
        skips: masked, from each layer to all that it skips to; None where there are none.
    """

    def __init__(
        self,
        structure: LayeredGraph,
        *,
        in_features: int,
        out_features: int,
        activation: Activation | str = "relu",
        has_norm: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.activation = ActivationModule(activation)
        self._nodes, self._node_layers = structure.nodes_by_layer, structure.layers
        sizes, count = structure.layer_sizes.tolist(), structure.num_layers
        self._reached = [
            [other for other in range(layer + 2, count) if structure.num_connections[layer, other]]
            for layer in range(count)
        ]
        with torch.random.fork_rng(devices=[]):  # torch's initial values, all replaced below
            self.first = MaskedLinear(in_features, sizes[0])
            self.last = MaskedLinear(sizes[-1], out_features)
            pairs = [(layer, [layer + 1]) for layer in range(count - 1)]
            self.steps = nn.ModuleList(_masked(structure, *pair) for pair in pairs)
            self.skips = nn.ModuleList(
                _masked(structure, layer, reached) if reached else None
                for layer, reached in enumerate(self._reached)
            )
        self.norms = nn.ModuleList(map(nn.LayerNorm, sizes[1:] if has_norm else []))
        self.reset_parameters(generator)

    def forward(self, inputs: Float[Tensor, "B *shape"]) -> Float[Tensor, "B out"]:
        """Outputs; inputs of more axes are flattened.

        Raises:
            NNGraphsError: the inputs are of another width.
        """
        values = self.activation(self.first(flat_inputs(inputs, self.first.in_features)))
        arriving: dict[int, list[Tensor]] = {}
        for layer, step in enumerate(self.steps):
            if self._reached[layer]:
                sizes = [len(self._nodes[other]) for other in self._reached[layer]]
                sent = self.activation(self.skips[layer](values)).split(sizes, 1)
                for other, part in zip(self._reached[layer], sent, strict=True):
                    arriving.setdefault(other, []).append(part)
            values = step(values)
            values = self.activation(self.norms[layer](values) if self.norms else values)
            for part in arriving.pop(layer + 1, []):
                values = values + part
        return self.last(values)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws initial values, see `draw_by_degree`; norms begin at 1 and 0."""
        for module in self.modules():
            if isinstance(module, MaskedLinear):
                draw_by_degree(module, generator)
        for norm in self.norms:
            norm.reset_parameters()

    @property
    def structure(self) -> LayeredGraph:
        """The graph that the masks leave; nodes keep their numbers and layers."""
        masks = []
        for layer, step in enumerate(self.steps):
            own = step.mask.detach().cpu().numpy()
            masks.append((layer + 1, [layer], own))
            if self._reached[layer]:
                sent = self.skips[layer].mask.detach().cpu()
                parts = sent.split([len(self._nodes[other]) for other in self._reached[layer]])
                for other, part in zip(self._reached[layer], parts, strict=True):
                    masks.append((other, [layer], part.numpy()))
        return read_layers(self._nodes, self._node_layers, masks)


def _masked(structure: LayeredGraph, layer: int, reached: list[int]) -> MaskedLinear:
    """From one layer to others, whose nodes are one behind the other."""
    masks = [torch.from_numpy(structure.mask([layer], other)) for other in reached]
    mask = torch.cat(masks)
    return MaskedLinear(mask.shape[1], mask.shape[0], mask=mask)
