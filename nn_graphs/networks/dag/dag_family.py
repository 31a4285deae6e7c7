"""Networks of many directed acyclic graphs as one stack, whose nodes share stages.

The first stage of all is the inputs and the last one the outputs; between them each network fills
the places of `common_stages` with its own neurons. What a network does not have is zero and not
trained. `DAGFamily.padded_share` tells how much that is; stacks of networks of nearly one depth
(`groups_by_width` of their depths) keep it low.
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
from nn_graphs.networks.dag.common_stages import common_stages
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.dag.layer_reading import Reading, make_reading, next_window
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
            window = next_window(window, self._layer(weights, number, window, mode), kept)
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
    graphs = [network.framed_structure for network in networks]
    sizes, stages = common_stages(graphs)
    leads = np.zeros((len(sizes), len(sizes)), bool)
    for graph, own in zip(graphs, stages, strict=True):
        leads[own[graph.sources], own[graph.targets]] = True
    reading = make_reading(sizes, leads)
    shapes: dict[str, tuple[int, ...]] = {}
    for number, reads in enumerate(reading.layers):
        out = int(sizes[number + 1])
        shapes[f"layers.{number}.weight"] = (out, int(sizes[list(reads)].sum()))
        shapes[f"layers.{number}.bias"] = (out,)
    model = StackedDAGs(
        ParameterLayout.from_shapes(shapes), reading, networks[0].activation.activation
    )
    places = tuple(
        _places(network, own, model, sizes) for network, own in zip(networks, stages, strict=True)
    )
    first = next(networks[0].parameters())
    params = first.new_zeros(len(networks), model.parameters.num_params, requires_grad=False)
    trainable = torch.zeros(params.shape, dtype=torch.bool)
    for row, known, network, (mine, theirs) in zip(
        params, trainable, networks, places, strict=True
    ):
        row[theirs] = ParameterLayout.from_module(network).flatten(network)[mine]
        known[theirs] = True
    return DAGFamily(model, params, params.new_zeros(len(networks), 0), trainable, places)


def _places(
    network: DAGNetwork,
    stages: Int[np.ndarray, " n"],
    model: StackedDAGs,
    sizes: Int[np.ndarray, " stages"],
) -> tuple[Int[Tensor, " _"], Int[Tensor, " _"]]:
    """Which of a network's own flat parameters exist, and where they are in its row."""
    slots, starts = _slots(stages), _starts(model.reading, sizes)
    weights = [model.parameters.slot(f"layers.{n}.weight") for n in range(len(sizes) - 1)]
    offsets = np.array([0, *(slot.offset for slot in weights)])
    widths = np.array([0, *(slot.shape[1] for slot in weights)])
    biases = np.array([0, *(slot.stop for slot in weights)])  # each lies behind its weight
    layout = ParameterLayout.from_module(network)
    mine, theirs = [], []
    for number, (layer, reads) in enumerate(
        zip(network.layers, network.reading.layers, strict=True)
    ):
        rows, columns = layer.mask.cpu().numpy().nonzero()
        nodes = network.nodes_by_layer[number + 1]
        targets = nodes[rows]
        sources = np.concatenate([network.nodes_by_layer[read] for read in reads])[columns]
        stage = stages[targets]
        column = starts[stage, stages[sources]] + slots[sources]
        mine.append(
            layout.slot(f"layers.{number}.weight").offset + rows * layer.in_features + columns
        )
        theirs.append(offsets[stage] + slots[targets] * widths[stage] + column)
        mine.append(layout.slot(f"layers.{number}.bias").offset + np.arange(len(nodes)))
        theirs.append(biases[stages[nodes]] + slots[nodes])
    return torch.from_numpy(np.concatenate(mine)), torch.from_numpy(np.concatenate(theirs))


def _slots(stages: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Of every node, which one of its stage it is."""
    order = np.argsort(stages, kind="stable")
    sizes = np.bincount(stages)
    slots = np.empty(len(stages), int)
    slots[order] = np.arange(len(stages)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return slots


def _starts(
    reading: Reading, sizes: Int[np.ndarray, " stages"]
) -> Int[np.ndarray, "stages stages"]:
    """At which of the values that a stage (row) reads those of another (column) begin."""
    starts = np.zeros((len(sizes), len(sizes)), int)
    for number, reads in enumerate(reading.layers, 1):
        own = sizes[list(reads)]
        starts[number, list(reads)] = np.cumsum(own) - own
    return starts


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
