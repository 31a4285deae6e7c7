"""Networks of many directed acyclic graphs as one stack: layers are padded, missing weights masked.

The first layer of all is the inputs and the last one the outputs; those between are as wide as in
the network where they are widest, and a network that has fewer lacks the last ones. What a network
does not have is zero and not trained. `FamilyStack.padded_share` tells what that costs; stacks of
networks of nearly one depth (`groups_by_width` of their depths) keep it low.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.classifiers.model import Mode, linear
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.dag.layer_reading import Reading, make_reading
from nn_graphs.networks.parameters import ParameterLayout


@dataclass(frozen=True)
class StackedDAGs:
    """The function of a stack of `DAGNetwork`s; a `StackedModel`.

    Attributes:
        parameters: layout, named as in a `DAGNetwork`.
        reading: what each layer reads.
        activation: of all but the last layer.
    """

    parameters: ParameterLayout
    reading: Reading
    activation: Activation

    def __call__(
        self,
        params: Float[Tensor, "S num_params"],
        buffers: Float[Tensor, "S num_buffers"],
        inputs: Float[Tensor, "S_or_1 B *shape"],
        mode: Mode,
    ) -> tuple[Float[Tensor, "S B classes"], Float[Tensor, "S num_buffers"]]:
        weights = self.parameters.unflatten(params)
        values = inputs.flatten(2).mT
        run = self._by_windows if self.reading.is_windowed else self._by_layers
        return run(weights, values, mode).mT, buffers

    def _by_windows(self, weights: dict[str, Tensor], window: Tensor, mode: Mode) -> Tensor:
        for number, kept in enumerate(self.reading.kept):
            values = self._layer(weights, number, window, mode)
            if kept:
                rest = window[:, -kept:].expand(len(values), -1, -1)
                window = torch.cat([rest, values], 1)
            else:
                window = values
        return window

    def _by_layers(self, weights: dict[str, Tensor], values: Tensor, mode: Mode) -> Tensor:
        parts = [values]
        for number, reads in enumerate(self.reading.layers):
            seen = parts[reads[0]]
            if len(reads) > 1:
                count = len(weights["layers.0.weight"])
                seen = torch.cat([parts[read].expand(count, -1, -1) for read in reads], 1)
            parts.append(self._layer(weights, number, seen, mode))
        return parts[-1]

    def _layer(self, weights: dict[str, Tensor], number: int, seen: Tensor, mode: Mode) -> Tensor:
        values = linear(seen, weights[f"layers.{number}.weight"])
        values = values + weights[f"layers.{number}.bias"].unsqueeze(2)
        if number == len(self.reading.layers) - 1:
            return values
        return mode.drop(self.activation(values).mT, number).mT


@dataclass(frozen=True, eq=False)
class DAGFamily:
    """Networks of directed acyclic graphs as a stack.

    Attributes:
        model: their function.
        params: of all, padded.
        buffers: none, `[N, 0]`.
        trainable: which of the parameters a network has.
        places: for each network, which of its own flat parameters exist, and where they are in its
            row.
    """

    model: StackedDAGs
    params: Float[Tensor, "N num_params"]
    buffers: Float[Tensor, "N 0"]
    trainable: Bool[Tensor, "N num_params"]
    places: tuple[tuple[Int[Tensor, " _"], Int[Tensor, " _"]], ...]

    @property
    def padded_share(self) -> float:
        """Parameters that no network has, in relation to all."""
        return 1 - float(self.trainable.double().mean())

    def load(self, network: DAGNetwork, number: int, params: Float[Tensor, "num_params"]) -> None:
        """Puts the trained row of network `number` into a network of its structure."""
        layout = ParameterLayout.from_module(network)
        own = layout.flatten(network)
        mine, theirs = self.places[number]
        own[mine] = params[theirs].to(own)
        network.load_state_dict(layout.unflatten(own), strict=False)


def stack_dags(networks: Sequence[DAGNetwork]) -> DAGFamily:
    """Networks as one stack, in double or single precision as they are.

    Args:
        networks: of any structures, with the same numbers of inputs and outputs.

    Raises:
        NNGraphsError: there are none, they differ in inputs, outputs or activation, or have norms.
    """
    _check_alike(networks)
    layers = [_aligned_sizes(network, max(map(_depth, networks))) for network in networks]
    sizes = np.max(layers, axis=0)
    reading = make_reading(sizes, np.any([_connections(n, len(sizes)) for n in networks], axis=0))
    shapes: dict[str, tuple[int, ...]] = {}
    for number, reads in enumerate(reading.layers):
        out = int(sizes[number + 1])
        shapes[f"layers.{number}.weight"] = (out, int(sizes[list(reads)].sum()))
        shapes[f"layers.{number}.bias"] = (out,)
    model = StackedDAGs(
        ParameterLayout.from_shapes(shapes), reading, networks[0].activation.activation
    )
    places = tuple(_places(network, model, sizes) for network in networks)
    first = next(networks[0].parameters())
    params = first.new_zeros(len(networks), model.parameters.num_params, requires_grad=False)
    trainable = torch.zeros(params.shape, dtype=torch.bool)
    for row, known, network, (mine, theirs) in zip(
        params, trainable, networks, places, strict=True
    ):
        row[theirs] = ParameterLayout.from_module(network).flatten(network)[mine]
        known[theirs] = True
    return DAGFamily(model, params, params.new_zeros(len(networks), 0), trainable, places)


def _depth(network: DAGNetwork) -> int:
    return len(network.layers) + 1


def _aligned(layer: int, depth: int, common: int) -> int:
    """The layer of the stack that a network's layer is: its outputs are the last one."""
    return common - 1 if layer == depth - 1 else layer


def _aligned_sizes(network: DAGNetwork, common: int) -> Int[np.ndarray, " layers"]:
    sizes = np.zeros(common, int)
    own = [network.layers[0].in_features, *(layer.out_features for layer in network.layers)]
    for layer, size in enumerate(own):
        sizes[_aligned(layer, len(own), common)] = size
    return sizes


def _connections(network: DAGNetwork, common: int) -> Bool[np.ndarray, "layers layers"]:
    """Which layers of the stack lead to which in one network."""
    framed, depth = network.framed_structure, _depth(network)
    found = np.zeros((common, common), bool)
    for source, target in np.argwhere(framed.num_connections).tolist():
        found[_aligned(source, depth, common), _aligned(target, depth, common)] = True
    return found


def _places(
    network: DAGNetwork, model: StackedDAGs, sizes: Int[np.ndarray, " layers"]
) -> tuple[Tensor, Tensor]:
    """Which of a network's own flat parameters exist, and where they are in its row."""
    layout, depth, common = ParameterLayout.from_module(network), _depth(network), len(sizes)
    own_sizes = [network.layers[0].in_features, *(one.out_features for one in network.layers)]
    mine, theirs = [], []
    for number, layer in enumerate(network.layers):
        stage = _aligned(number + 1, depth, common) - 1
        slots = [model.parameters.slot(f"layers.{stage}.{kind}") for kind in ("weight", "bias")]
        own = [layout.slot(f"layers.{number}.{kind}") for kind in ("weight", "bias")]
        starts, offset = {}, 0  # columns of the stack at which each layer begins
        for read in model.reading.layers[stage]:
            starts[read], offset = offset, offset + int(sizes[read])
        columns = torch.cat(
            [
                torch.arange(own_sizes[read]) + starts.get(read, -1)
                for read in network.reading.layers[number]
            ]
        )
        rows, seen = layer.mask.cpu().nonzero(as_tuple=True)
        mine += [own[0].offset + rows * layer.in_features + seen]
        theirs += [slots[0].offset + rows * slots[0].shape[1] + columns[seen]]
        biases = torch.arange(layer.out_features)
        mine, theirs = [*mine, own[1].offset + biases], [*theirs, slots[1].offset + biases]
    return torch.cat(mine), torch.cat(theirs)


def _check_alike(networks: Sequence[DAGNetwork]) -> None:
    kinds = {
        (n.layers[0].in_features, n.layers[-1].out_features, str(n.activation.activation))
        for n in networks
    }
    if len(kinds) != 1 or any(network.norms for network in networks):
        raise NNGraphsError(
            f"stack {len(networks)} networks of directed acyclic graphs",
            found="there is none."
            if not networks
            else "some have norms."
            if len(kinds) == 1
            else f"inputs, outputs and activations are {sorted(kinds)}.",
            do="Give networks without norms that are alike in all but their structure.",
        )
