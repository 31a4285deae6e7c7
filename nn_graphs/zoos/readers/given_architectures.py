"""The architecture of the networks in files: an INR convention, a `NetworkSpec`, or a torch module.

Parameters of a state dict are found by their names where these are the architecture's own, else in
order: the weight matrices one after the other, and the biases one after the other.
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.readers.checkpoints import Checkpoint
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.source_files import AnyPath

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class INRArchitecture:
    """INRs of a convention.

    Attributes:
        preset: name of the convention, see `nn_graphs.networks.inr`.
        layer_layout: numbers of neurons from input to output; None: as the files say.
    """

    preset: str
    layer_layout: Sequence[int] | None = None

    def __post_init__(self):
        inr_preset(self.preset)
        if self.layer_layout is not None:
            object.__setattr__(self, "layer_layout", tuple(self.layer_layout))

    def make_spec(self, read_shapes: Callable[[], Shapes]) -> NetworkSpec:
        """The architecture; `read_shapes` is asked for a file's only where no layout is given."""
        preset = inr_preset(self.preset)
        if self.layer_layout is not None:
            return preset.make_spec(self.layer_layout)
        layer_layout, has_bias = infer_chain(read_shapes())
        spec = preset.make_spec(layer_layout)
        layers = (dataclasses.replace(layer, has_bias=has_bias) for layer in spec.layers)
        return NetworkSpec(spec.in_width, tuple(layers))


class MixedArchitecture(ABC):
    """How the architecture of each network is found, where those of a zoo differ."""

    @abstractmethod
    def make_spec(self, checkpoint: Checkpoint, row: Mapping[str, Any]) -> NetworkSpec:
        """The architecture of the network in a file.

        Args:
            checkpoint: what the file holds.
            row: what is known of it otherwise, a row of the listing's table.

        Raises:
            Skipped: it cannot be found out.
        """


@dataclass(frozen=True)
class ChainArchitecture(MixedArchitecture):
    """Chains of linear layers, each as deep and wide as its file's tensors say.

    Attributes:
        activation: of the hidden layers, which no file tells; a column `activation` of the table
            goes before it.
    """

    activation: str

    def __post_init__(self):
        Activation(self.activation)

    def make_spec(self, checkpoint: Checkpoint, row: Mapping[str, Any]) -> NetworkSpec:
        shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.state.items()}
        try:
            layer_layout, has_bias = infer_chain(shapes)
            activation = Activation(row.get("activation") or self.activation)
        except NNGraphsError as error:
            raise Skipped(Reason.SHAPE, error.found) from error
        spec = NetworkSpec.mlp(layer_layout, activation=activation)
        layers = (dataclasses.replace(layer, has_bias=has_bias) for layer in spec.layers)
        return dataclasses.replace(spec, layers=tuple(layers))


@dataclass(frozen=True)
class ListedArchitecture(MixedArchitecture):
    """Architectures in files of their own, JSON as by `NetworkSpec.to_json`.

    Attributes:
        column: of the table, with the names of these files.
        open_root: gives the folder that the names are relative to.
    """

    column: str
    open_root: Callable[[], AnyPath]
    _known: dict[str, NetworkSpec] = field(default_factory=dict, init=False, compare=False)

    def make_spec(self, checkpoint: Checkpoint, row: Mapping[str, Any]) -> NetworkSpec:
        name = row[self.column]
        if name not in self._known:
            try:
                self._known[name] = read_spec(self.open_root() / name)
            except NNGraphsError as error:
                raise Skipped(Reason.SHAPE, f"its architecture {name}: {error.found}") from error
        return self._known[name]


def read_spec(path: str | AnyPath) -> NetworkSpec:
    """The architecture in a JSON file.

    Raises:
        NNGraphsError: it is not there, or is none.
    """
    path = Path(path) if isinstance(path, str) else path
    try:
        return NetworkSpec.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NNGraphsError(
            f"read the architecture in {path}",
            found=f"it is no NetworkSpec ({error}).",
            do="Write it with NetworkSpec.to_json.",
        ) from error


Architecture = INRArchitecture | ModuleArchitecture | NetworkSpec | MixedArchitecture


def describe(architecture: Architecture) -> dict:
    """An architecture as JSON data."""
    if isinstance(architecture, NetworkSpec):
        return json.loads(architecture.to_json())
    if isinstance(architecture, ListedArchitecture):
        return {"column": architecture.column}  # what it says is in the zoo
    return json.loads(json.dumps(dataclasses.asdict(architecture)))


def infer_chain(shapes: Shapes) -> tuple[tuple[int, ...], bool]:
    """The layer layout of a plain chain of linear layers, and whether they have biases.

    Raises:
        NNGraphsError: the tensors are not the weights and biases of a chain.
    """
    weights = {name: shape for name, shape in shapes.items() if len(shape) == 2}
    biases = {name: shape for name, shape in shapes.items() if len(shape) == 1}
    others = [name for name, shape in shapes.items() if len(shape) not in (1, 2)]
    if others:
        kind = "a convolution" if len(shapes[others[0]]) == 4 else "no linear layer"
        raise _no_chain(f"{others[0]} {list(shapes[others[0]])} belongs to {kind}.")
    for (first, (width, _)), (second, (_, fan_in)) in pairwise(weights.items()):
        if width != fan_in:
            raise _no_chain(
                f"{first} puts out {width} values, and {second}, which follows, takes {fan_in}."
            )
    widths = [width for width, _ in weights.values()]
    if biases and [width for (width,) in biases.values()] != widths:
        raise _no_chain(
            f"layers of the widths {widths} have biases of the shapes "
            f"{[list(shape) for shape in biases.values()]}."
        )
    if not weights:
        raise _no_chain("there are no weight matrices.")
    return (next(iter(weights.values()))[1], *widths), bool(biases)


def _no_chain(found: str) -> NNGraphsError:
    return NNGraphsError(
        "infer the layer layout from the shapes of a file's tensors",
        found=found,
        do="Give a NetworkSpec, or a torch module by its dotted path.",
    )


@dataclass(frozen=True)
class StateFlattener:
    """State dicts of one architecture as flat vectors.

    Attributes:
        spec: the architecture.
        names: what the torch module that the architecture was given as calls its parameters, in
            the order of `spec.parameters`.
    """

    spec: NetworkSpec
    names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, architecture: Architecture, read_shapes: Callable[[], Shapes]) -> "StateFlattener":
        """For an architecture however it is given; see `INRArchitecture.make_spec`.

        Raises:
            NNGraphsError: the architecture cannot be found out, or is none of linear layers.
        """
        if isinstance(architecture, NetworkSpec):
            return cls(architecture)
        if isinstance(architecture, ModuleArchitecture):
            return cls(*architecture.make_spec())
        return cls(architecture.make_spec(read_shapes))

    def __call__(self, state: Mapping[str, Tensor]) -> Float[Tensor, "num_params"]:
        """The flat vector of a network.

        Raises:
            Skipped: a tensor is missing, is left over or has another shape; the first is named.
        """
        found = self._find(state)
        for slot, name in zip(self.spec.parameters.slots, found, strict=True):
            shape = None if name is None else tuple(state[name].shape)
            if shape != slot.shape:
                is_there = "there is no tensor" if name is None else f"{name} is {list(shape)}"
                raise Skipped(
                    Reason.SHAPE, f"{is_there} where {slot.name} {list(slot.shape)} is expected."
                )
        left = [name for name in state if name not in found]
        if left:
            shape = list(state[left[0]].shape)
            raise Skipped(Reason.SHAPE, f"{left[0]} {shape} has no place in the architecture.")
        return torch.cat([state[name].reshape(-1).float() for name in found])

    def _find(self, state: Mapping[str, Tensor]) -> list[str | None]:
        """The name of each slot's tensor; None where there is none."""
        slots = self.spec.parameters.slots
        for names in (self.names, tuple(slot.name for slot in slots)):
            if names is not None and set(names) == set(state):
                return list(names)
        ordered = _biases_behind_weights(state)
        in_order = {
            num_dims: iter([name for name in ordered if state[name].ndim == num_dims])
            for num_dims in {len(slot.shape) for slot in slots}
        }
        return [next(in_order[len(slot.shape)], None) for slot in slots]


def _biases_behind_weights(state: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors, weights in their order, each bias behind the weight of its layer.

    A file that is sorted by name has the bias of `fc` before that of `layers.0`, whose weight, of a
    convolution, comes first all the same.
    """
    weights = sorted(
        (name for name in state if state[name].ndim > 1), key=lambda name: -state[name].ndim
    )
    biases = {name.rpartition(".")[0]: name for name in state if state[name].ndim < 2}
    paired = [biases.get(name.rpartition(".")[0]) for name in weights]
    if None in paired or len({*weights, *paired}) < len(state):
        return list(state)
    return [name for pair in zip(weights, paired, strict=True) for name in pair]
