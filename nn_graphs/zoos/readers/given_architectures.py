"""The architecture of the networks in files: an INR convention, a `NetworkSpec`, or a torch module.

Parameters of a state dict are found by their names where these are the architecture's own, else in
the order that `layer_order` finds, which is an error where nothing tells it.
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
from nn_graphs.graphs.architecture_specs import AnySpec, TracedSpec
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.parameters import ParameterSlot
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.zoos.readers.checkpoints import FLAT, Checkpoint
from nn_graphs.zoos.readers.layer_order import (
    LayerNames,
    Shapes,
    is_numbered,
    order_tensors,
    pair_layers,
    possible_orders,
)
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.source_files import AnyPath
from nn_graphs.zoos.readers.weight_names import (
    check_one_network,
    listed,
    match_names,
    networks_inside,
)


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
        if FLAT in checkpoint.state:
            raise Skipped(Reason.SHAPE, "a flat vector does not tell the widths of its layers.")
        if not checkpoint.is_chosen:
            check_one_network(checkpoint.shapes())
        try:
            layer_layout, has_bias = infer_chain(
                checkpoint.shapes(), keeps_order=checkpoint.keeps_order
            )
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
    fields = dataclasses.asdict(architecture).items()
    return json.loads(json.dumps({key: value for key, value in fields if key[0] != "_"}))


def infer_chain(shapes: Shapes, *, keeps_order: bool = True) -> tuple[tuple[int, ...], bool]:
    """The layer layout of a plain chain of linear layers, and whether they have biases.

    Raises:
        NNGraphsError: the tensors are not the weights and biases of a chain.
        Skipped: several orders of the layers make a chain, and nothing tells which is right.
    """
    others = [name for name, shape in shapes.items() if len(shape) not in (1, 2)]
    if others:
        kind = "a convolution" if len(shapes[others[0]]) == 4 else "no linear layer"
        raise _no_chain(f"{others[0]} {list(shapes[others[0]])} belongs to {kind}.")
    names = order_tensors(shapes, lambda order: _is_chain(order, shapes), keeps_order=keeps_order)
    weights = {name: shapes[name] for name in names if len(shapes[name]) == 2}
    biases = {name: shapes[name] for name in names if len(shapes[name]) == 1}
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


def _is_chain(order: Sequence[LayerNames], shapes: Shapes) -> bool:
    pairs = pairwise(shapes[layer.weight] for layer in order)
    return all(width == fan_in for (width, _), (_, fan_in) in pairs)


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
        spec: the architecture. Of a traced one, files must name their tensors as its module does.
        names: what the torch module that the architecture was given as calls its parameters, in
            the order of `spec.parameters`.
        stored: the same names in the module's own order, that of flat vectors.
    """

    spec: AnySpec
    names: tuple[str, ...] | None = None
    stored: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        architecture: INRArchitecture | ModuleArchitecture | NetworkSpec,
        read_shapes: Callable[[], Shapes],
    ) -> "StateFlattener":
        """For an architecture however it is given; see `INRArchitecture.make_spec`.

        Raises:
            NNGraphsError: the architecture cannot be found out, or is none of linear layers.
        """
        if isinstance(architecture, NetworkSpec):
            return cls(architecture)
        if isinstance(architecture, ModuleArchitecture):
            spec, names = architecture.make_spec()
            if isinstance(spec, TracedSpec):
                return cls(spec, names)
            return cls(spec, names, architecture.parameter_names())
        return cls(architecture.make_spec(read_shapes))

    def __call__(
        self, state: Mapping[str, Tensor], *, keeps_order: bool = True
    ) -> Float[Tensor, "num_params"]:
        """The flat vector of a network; for `keeps_order` see `Checkpoint`.

        Raises:
            Skipped: a tensor is missing, is left over or has another shape; the first is named. Or
                neither names nor shapes tell which tensor is which.
        """
        if FLAT in state:
            return self._vector(state[FLAT])
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        own = self._own_names(state)
        if own is None and isinstance(self.spec, TracedSpec):
            raise Skipped(Reason.SHAPE, self._describe_other_names(state))
        found = own or self._in_order(shapes, keeps_order=keeps_order)
        for slot, name in zip(self.spec.parameters.slots, found, strict=True):
            shape = None if name is None else shapes[name]
            if shape != slot.shape:
                is_there = "there is no tensor" if name is None else f"{name} is {list(shape)}"
                raise Skipped(
                    Reason.SHAPE,
                    f"{is_there} where {slot.name} {list(slot.shape)} is expected."
                    f"{_hint_of_transposed(shape, slot.shape)}",
                )
        left = [name for name in state if name not in self._known_names(found)]
        if left:
            raise Skipped(Reason.SHAPE, _describe_left(left, shapes))
        if own is None:
            self._check_order(found, shapes)
        return torch.cat([state[name].reshape(-1).float() for name in found])

    def _vector(self, values: Tensor) -> Float[Tensor, "num_params"]:
        """All parameters at once, in the order of the module, or else of the spec."""
        if values.shape != (self.spec.num_params,):
            raise Skipped(
                Reason.SHAPE,
                f"it has {len(values)} values, the architecture {self.spec.num_params} parameters.",
            )
        if self.names is None or self.stored is None:
            return values.float()
        sizes = dict(
            zip(self.names, (slot.size for slot in self.spec.parameters.slots), strict=True)
        )
        parts = values.float().split([sizes[name] for name in self.stored])
        own = dict(zip(self.stored, parts, strict=True))
        return torch.cat([own[name] for name in self.names])

    def fits(self, state: Mapping[str, Tensor]) -> bool:
        """Whether a file has the architecture's tensors, by their names and shapes, and no more."""
        found = self._own_names(state)
        if found is None:
            return False
        pairs = zip(self.spec.parameters.slots, found, strict=True)
        is_whole = state.keys() <= self._known_names(found)
        return is_whole and all(tuple(state[name].shape) == slot.shape for slot, name in pairs)

    def knows_names_of(self, state: Mapping[str, Tensor]) -> bool:
        """Whether a file calls its tensors as the architecture does."""
        return self._own_names(state) is not None

    def _own_names(self, state: Mapping[str, Tensor]) -> list[str] | None:
        """What the file calls the tensors that it names as the architecture does."""
        slots = tuple(self._called(slot, state) for slot in self.spec.parameters.slots)
        for names in (slots if isinstance(self.spec, TracedSpec) else self.names, slots):
            found = None if names is None else match_names(names, state)
            if found is not None:
                return found
        return None

    @staticmethod
    def _called(slot: ParameterSlot, state: Mapping[str, Tensor]) -> str:
        """The first of the names of a tied parameter that a file has."""
        for name in (slot.name, *slot.aliases) if slot.aliases else ():
            if any(own == name or own.endswith(f".{name}") for own in state):
                return name
        return slot.name

    def _known_names(self, found: Sequence[str]) -> set[str]:
        """The names of a file's tensors, and the other names of those that are tied."""
        known = set(found)
        for slot, name in zip(self.spec.parameters.slots, found, strict=True):
            own = next((own for own in (slot.name, *slot.aliases) if name.endswith(own)), "")
            start = name.removesuffix(own)
            known |= {start + other for other in (slot.name, *slot.aliases) if slot.aliases}
        return known

    def _describe_other_names(self, state: Mapping[str, Tensor]) -> str:
        names = [slot.name for slot in self.spec.parameters.slots]
        missing = [name for name in names if not any(own.endswith(name) for own in state)]
        return (
            f"it has no {listed(missing or names)}, as the module calls its parameters, but "
            f"{listed(state)}."
        )

    def _in_order(self, shapes: Shapes, *, keeps_order: bool) -> list[str | None]:
        """The name of each slot's tensor; None where there is none."""
        slots = self.spec.parameters.slots
        ordered = order_tensors(
            shapes, lambda order: self._fits(order, shapes), keeps_order=keeps_order
        )
        in_order = {
            num_dims: iter([name for name in ordered if len(shapes[name]) == num_dims])
            for num_dims in {len(slot.shape) for slot in slots}
        }
        return [next(in_order[len(slot.shape)], None) for slot in slots]

    def _fits(self, order: Sequence[LayerNames], shapes: Shapes) -> bool:
        """Whether layers in this order have the shapes of the architecture's."""
        own_shapes = {slot.name: slot.shape for slot in self.spec.parameters.slots}
        own = pair_layers(own_shapes) or []
        is_paired = any(layer.bias is not None for layer in order)
        return len(order) == len(own) and all(
            shapes[layer.weight] == own_shapes[expected.weight]
            and (not is_paired or (layer.bias is None) == (expected.bias is None))
            for layer, expected in zip(order, own, strict=True)
        )

    def _check_order(self, found: Sequence[str], shapes: Shapes) -> None:
        """Makes sure that tensors were not put in their places by an order that tells nothing.

        Raises:
            Skipped: a bias would be moved to another layer, or the module's names are known, the
                file's are others, and they could stand for several.
        """
        expected = [slot.name for slot in self.spec.parameters.slots]
        called = dict(zip(expected, found, strict=True))
        layers = pair_layers({slot.name: slot.shape for slot in self.spec.parameters.slots}) or []
        own = {layer.weight: layer.bias for layer in pair_layers(shapes) or []}
        for layer in layers:
            bias = None if layer.bias is None else called[layer.bias]
            if own and own[called[layer.weight]] != bias:
                weight = called[layer.weight]
                raise Skipped(
                    Reason.SHAPE, f"{weight} has the bias {own[weight]}, expected is {bias}."
                )
        if self.names is None:
            return
        weights = [name for name in found if len(shapes[name]) > 1]
        given = [name for name in self.names if name.rpartition(".")[2] != "bias"]
        are_numbered = is_numbered(weights) and is_numbered(given) and _is_ascending(given)
        if not are_numbered and len({shapes[name] for name in weights}) < len(weights):
            raise Skipped(
                Reason.SHAPE,
                f"its names {listed(weights)} are not those of the module, {listed(given)}, and "
                "shapes leave open which is which.",
            )


def _is_ascending(names: Sequence[str]) -> bool:
    return next(possible_orders(names)) == list(names)


def _describe_left(left: Sequence[str], shapes: Shapes) -> str:
    """What a file holds beside the architecture."""
    several = networks_inside(shapes)
    more = f" ({len(left)} tensors: {listed(left)})" if len(left) > 1 else ""
    which = f" It may hold several networks, {', '.join(several)}." if several else ""
    return f"{left[0]} {list(shapes[left[0]])} has no place in the architecture.{more}{which}"


def _hint_of_transposed(shape: tuple[int, ...] | None, expected: tuple[int, ...]) -> str:
    is_other = shape is not None and len(shape) == 2 and shape == expected[::-1]
    return " Its weights may be [in, out] (`transposed`)." if is_other else ""
