"""Networks whose neurons are the nodes of a directed acyclic graph, one per node.

The formula of Stier & Granitzer (deepstruct), with one nonlinearity around the sum over all earlier
layers:

    y_l = act(sum over j < l of W_jl y_j + b_l),    y_0 = x,

the last layer without it. The sum is one product of one matrix, masked by the graph, with all
earlier layers side by side: a network of L layers takes L products, not one for each of the
L (L - 1) / 2 pairs of layers. `ReleasedDAGNetwork` is what the published code computes instead.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation, ActivationModule
from nn_graphs.networks.block_sparse import MIN_WORK
from nn_graphs.networks.dag.layer_reading import Reading, make_reading, next_window, read_layers
from nn_graphs.networks.dag.window_pass import ACTIVATE, WindowPass
from nn_graphs.networks.masked import MaskedLinear
from nn_graphs.structure.framing import complete_layers, frame, unframe
from nn_graphs.structure.layered_graph import LayeredGraph


class DAGNetwork(nn.Module):
    """A network prescribed by a layered graph.

    Args:
        structure: one node a neuron.
        in_features: inputs, each joined to every node that hears no other; None: the first layer of
            the structure are the inputs, and nodes of later layers that hear none have a bias only.
        out_features: outputs, each joined to every node that no other hears; None: the last layer
            of the structure are the outputs.
        activation: of all neurons but the outputs.
        has_norm: whether each hidden layer has a layer norm before its activation.
        generator: of the initial values; torch's own where None.

    Attributes:
        initial_structure: the graph that it was made from.
        nodes_by_layer: numbers of the nodes of every layer of `framed_structure`, in the order of
            the rows of its matrix.
        layers: masked linear maps, one for each layer of the graph but the first; their masks may
            be changed (`set_mask`), and `structure` is read from them.

    Raises:
        NNGraphsError: there are fewer than two layers, or no features where a number is given.

    Example:
        structure = LayeredGraph.from_networkx(nx.watts_strogatz_graph(100, 4, 0.5))
        network = DAGNetwork(structure, in_features=784, out_features=10)
    """

    def __init__(
        self,
        structure: LayeredGraph,
        *,
        in_features: int | None = None,
        out_features: int | None = None,
        activation: Activation | str = "relu",
        has_norm: bool = False,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.initial_structure = structure
        framed = frame(structure, in_features, out_features)
        if framed.num_layers < 2:
            raise NNGraphsError(
                f"make a network of {structure!r}",
                found="all of its nodes are inputs: no edge leads to another layer.",
                do="Give in_features, out_features, or a graph with edges.",
            )
        self.activation = ActivationModule(activation)
        self.reading: Reading = make_reading(framed.layer_sizes, framed.num_connections)
        self._windows = self.reading.first_values(framed.layer_sizes)
        self._node_layers, self.nodes_by_layer = framed.layers, framed.nodes_by_layer
        layers = []
        with torch.random.fork_rng(devices=[]):  # torch's initial values, all replaced below
            for number, reads in enumerate(self.reading.layers, 1):
                mask = torch.from_numpy(framed.mask(reads, number))
                layers.append(MaskedLinear(mask.shape[1], mask.shape[0], mask=mask))
        self.layers = nn.ModuleList(layers)
        widths = [layer.out_features for layer in layers]
        self._most_weights = max(layer.weight.numel() for layer in layers)
        self.norms = nn.ModuleList(map(nn.LayerNorm, widths[:-1] if has_norm else []))
        self.reset_parameters(generator)

    def forward(self, inputs: Float[Tensor, "B *shape"]) -> Float[Tensor, "B out"]:
        """Outputs; inputs of more axes are flattened.

        Raises:
            NNGraphsError: the inputs are of another width.
        """
        values = flat_inputs(inputs, len(self.nodes_by_layer[0]))
        if not self.reading.is_windowed:
            return self._by_layers(values)
        return self._at_once(values) if self._is_plain(values) else self._by_windows(values)

    def _at_once(self, values: Float[Tensor, "B in"]) -> Float[Tensor, "B out"]:
        """Layers and their gradients without the operations between them, see `WindowPass`."""
        layers = list(self.layers)
        return WindowPass.apply(
            values,
            self._by_windows,
            self.activation.activation.name,
            self._windows,
            [layer.mask_as_numbers() for layer in layers],
            *(layer.weight for layer in layers),
            *(layer.bias for layer in layers),
        )

    def _is_plain(self, values: Tensor) -> bool:
        """Whether nothing but its formula and its first gradients is asked of the network."""
        return (
            self.activation.activation.name in ACTIVATE
            and not self.norms
            and not torch.compiler.is_compiling()  # also in torch.export
            and not torch.is_autocast_enabled(values.device.type)
            and not torch._C._are_functorch_transforms_active()  # a custom gradient is no vmap rule
            and torch.autograd.forward_ad._current_level < 0
            and len(values) * self._most_weights < MIN_WORK  # larger layers may run in blocks
            and values.dtype == self.layers[0].weight.dtype
            and all(map(is_bare, self.layers))
        )

    def _by_windows(self, window: Float[Tensor, "B seen"]) -> Float[Tensor, "B out"]:
        """Every layer reads all values from some layer on; only what others will read is kept."""
        for number, kept in enumerate(self.reading.kept):
            window = next_window(window, self._layer(number, window), kept)
        return window

    def _by_layers(self, values: Float[Tensor, "B seen"]) -> Float[Tensor, "B out"]:
        """Every layer reads those that lead to it, where these are few."""
        parts = [values]
        for number, reads in enumerate(self.reading.layers):
            seen = parts[reads[0]] if len(reads) == 1 else torch.cat([parts[r] for r in reads], 1)
            parts.append(self._layer(number, seen))
        return parts[-1]

    def _layer(self, number: int, seen: Float[Tensor, "B seen"]) -> Float[Tensor, "B width"]:
        values = self.layers[number](seen)
        if number == len(self.layers) - 1:
            return values
        if self.norms:
            values = self.norms[number](values)
        return self.activation(values)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator | None = None) -> None:
        """Draws initial values, see `draw_by_degree`; norms begin at 1 and 0."""
        for layer in self.layers:
            draw_by_degree(layer, generator)
        for norm in self.norms:
            norm.reset_parameters()

    @property
    def structure(self) -> LayeredGraph:
        """The graph that the masks leave; nodes keep their numbers and layers.

        Where nothing has changed the masks it is the graph that the network was made from. Edges
        from inputs and to outputs that were added are not in it.
        """
        return unframe(self.framed_structure, self.in_features, self.out_features)

    @property
    def framed_structure(self) -> LayeredGraph:
        """The same with inputs and outputs: these are numbered first, those last."""
        return read_layers(
            self.nodes_by_layer,
            self._node_layers,
            [
                (number, reads, layer.mask.detach().cpu().numpy())
                for number, (layer, reads) in enumerate(
                    zip(self.layers, self.reading.layers, strict=True), 1
                )
            ],
        )

    @property
    def num_connections(self) -> int:
        """Weights that exist."""
        return sum(layer.num_connections for layer in self.layers)

    def extra_repr(self) -> str:
        return (
            f"{self.in_features}, {self.out_features}, layers={list(map(len, self.nodes_by_layer))}"
        )


def flat_inputs(inputs: Float[Tensor, "B *shape"], width: int) -> Float[Tensor, "B width"]:
    """Inputs with one axis beside that of the batch.

    Raises:
        NNGraphsError: it is of another width.
    """
    values = inputs.flatten(1)
    if values.shape[1] != width:
        raise NNGraphsError(
            f"run a network of {width} inputs",
            found=f"an input {list(inputs.shape[1:])} has {values.shape[1]} values.",
            do="Make a network for inputs of that size, or give others.",
        )
    return values


def is_bare(layer: nn.Module) -> bool:
    """Whether a layer is a masked product and no more: no other class, nothing hooked to it."""
    hooks = layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks
    return type(layer) is MaskedLinear and layer.execution != "blocks" and not hooks


@torch.no_grad()
def draw_by_degree(layer: MaskedLinear, generator: torch.Generator | None = None) -> None:
    """Draws weights from U(-1, 1) sqrt(6 / degree), biases from U(-1, 1) / sqrt(degree).

    The degree of a neuron is the number of inputs that its mask leaves it. Weights are those of
    He et al. (ICCV 2015), which keep values as large as they are through any number of layers;
    torch's own are smaller and count inputs that do not exist: random graphs have dozens of layers
    of few neurons, at whose end nothing would be left.
    """
    bounds = layer.mask.sum(1).clamp(min=1).to(layer.weight).rsqrt()
    layer.weight.uniform_(-1, 1, generator=generator)
    layer.weight.mul_(bounds[:, None] * 6**0.5)
    if layer.bias is not None:
        layer.bias.uniform_(-1, 1, generator=generator)
        layer.bias.mul_(bounds)
    layer.apply_mask()


def masked_feed_forward(
    in_features: int,
    out_features: int,
    hidden_widths: Sequence[int],
    *,
    activation: Activation | str = "relu",
    has_norm: bool = False,
    generator: torch.Generator | None = None,
) -> DAGNetwork:
    """A feed-forward network without skips, all of whose connections exist at first.

    Args:
        in_features, out_features, hidden_widths: of the layers, one hidden one at least.
        activation, has_norm, generator: as in `DAGNetwork`; all hidden layers have a norm.

    Raises:
        NNGraphsError: there is no hidden layer, or a layer without neurons.
    """
    return DAGNetwork(
        complete_layers(list(hidden_widths)),
        in_features=in_features,
        out_features=out_features,
        activation=activation,
        has_norm=has_norm,
        generator=generator,
    )
