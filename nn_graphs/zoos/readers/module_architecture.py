"""An architecture given as a torch module by its dotted path: a chain of layers, or a traced one.

The module is the user's own code: it is imported and called. Checkpoint files never are.
"""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.architecture_specs import AnySpec, TracedSpec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.spec import LayerSpec, NetworkSpec

ADVICE = (
    "Read networks whose module can be traced into a zoo: see nn_graphs.graphs.trace, and give the "
    "shape of one input (input_shape) where it is not that of the first weights."
)


@dataclass(frozen=True)
class ModuleArchitecture:
    """The architecture of a torch module.

    Attributes:
        target: what makes the module, `package.module:factory` or `package.module.Class`.
        arguments: by name, for that call.
        in_width: number of input neurons; None: as the module's first weight matrix says.
        input_shape: of one input without the batch, e.g. `(3, 32, 32)`, where it is no vector.
    """

    target: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    in_width: int | None = None
    input_shape: Sequence[int] | None = None

    def __post_init__(self):
        if self.input_shape is not None:
            object.__setattr__(self, "input_shape", tuple(self.input_shape))

    def make_spec(self) -> tuple[AnySpec, tuple[str, ...]]:
        """The architecture, and what the module calls its parameters, in the spec's order.

        That is a `NetworkSpec` of a chain of linear layers, activations and additive skips, a
        `TracedSpec` of anything else.

        Raises:
            NNGraphsError: the module cannot be made or traced.
        """
        module = self._make_module()
        example = torch.zeros(1, *self._find_input_shape(module))
        try:
            template = trace(module, example)
        except NNGraphsError as error:
            raise NNGraphsError(
                f"read a zoo of networks like {self.target}",
                found=error.found,
                do=ADVICE,
            ) from error
        try:
            return spec_of_template(template)
        except NNGraphsError:
            return TracedSpec.of(template), tuple(slot.name for slot in template.parameters.slots)

    def parameter_names(self) -> tuple[str, ...]:
        """What the module calls its parameters, in its own order, which need not be the spec's."""
        return tuple(name for name, _ in self._make_module().named_parameters())

    def _make_module(self) -> nn.Module:
        made = self._import()
        if not isinstance(made, nn.Module):
            try:
                made = made(**self.arguments)
            except Exception as error:
                raise self._cannot_make(f"calling it fails ({error}).") from error
        if not isinstance(made, nn.Module):
            raise self._cannot_make(f"it makes a {type(made).__name__}, no torch module.")
        return made

    def _import(self) -> Any:
        """What `target` names."""
        path, colon, name = self.target.partition(":")
        if not colon:
            path, _, name = self.target.rpartition(".")
        try:
            found = importlib.import_module(path)
            for part in name.split("."):
                found = getattr(found, part)
        # A user's module can fail in any way while it is imported.
        except Exception as error:
            raise self._cannot_make(f"it cannot be imported ({error}).") from error
        return found

    def _cannot_make(self, found: str) -> NNGraphsError:
        return NNGraphsError(
            f"make the torch module {self.target}",
            found=found,
            do="Give package.module:factory or package.module.Class, importable from here, and "
            "its arguments.",
        )

    def _find_input_shape(self, module: nn.Module) -> Sequence[int]:
        if self.input_shape is not None:
            return self.input_shape
        if self.in_width is not None:
            return (self.in_width,)
        shapes = [tuple(tensor.shape) for tensor in module.parameters() if tensor.ndim > 1]
        if not shapes or len(shapes[0]) != 2:
            found = f"its first weights are {list(shapes[0])}" if shapes else "it has no weights"
            raise NNGraphsError(
                f"read a zoo of networks like {self.target}",
                found=f"{found}, not those of a linear layer.",
                do="Give the shape of one input without the batch, as input_shape 3 32 32 (or "
                "in_width, of vectors).",
            )
        return (shapes[0][1],)


def spec_of_template(template: GraphTemplate) -> tuple[NetworkSpec, tuple[str, ...]]:
    """The `NetworkSpec` of an architecture, and the names of its parameters in the spec's order.

    Raises:
        NNGraphsError: the architecture is no chain of layers, or has parameters without a use.
    """
    layers, names = [], []
    for number in range(1, len(template.groups)):
        layer, weight = _layer(template, number)
        group = template.groups[number]
        layers.append(layer)
        names += [weight, *([group.bias.name] if group.bias else [])]
    kinds = [group.kind for group in template.groups]
    if kinds != [NeuronKind.INPUT, *[NeuronKind.HIDDEN] * (len(kinds) - 2), NeuronKind.OUTPUT]:
        raise _no_spec("it has several inputs or outputs, or puts out a hidden layer")
    stored = [slot.name for slot in template.parameters.slots]
    if sorted(stored) != sorted(names):
        unused = sorted({*stored} - {*names})
        raise _no_spec(f"{unused[0]} is not used" if unused else "layers share their weights")
    return NetworkSpec(template.groups[0].width, tuple(layers)), tuple(names)


def _layer(template: GraphTemplate, number: int) -> tuple[LayerSpec, str]:
    """Layer `number` (the inputs are 0) and the name of its weight."""
    group, widths = template.groups[number], [other.width for other in template.groups]
    blocks = [block for block in template.blocks if block.target == number]
    dense = [block for block in blocks if block.is_dense]
    skips = [block for block in blocks if not block.is_dense]
    if len(dense) != 1 or (dense[0].source, dense[0].num_sources) != (
        number - 1,
        widths[number - 1],
    ):
        raise _no_spec(f"its layer {number} is no linear map of the layer before")
    if not dense[0].is_regular or dense[0].kernel or not group.rule.is_linear:
        raise _no_spec(f"its layer {number} is a convolution, a norm or a map of places")
    for skip in skips:
        if skip.constant != 1 or skip.num_sources != min(group.width, widths[skip.source]):
            raise _no_spec(f"a skip to its layer {number} is scaled or cut")
    layer = LayerSpec(
        width=group.width,
        activation=group.activation,
        has_bias=group.bias is not None,
        skips=tuple(skip.source for skip in skips),
        offset=group.offset,
    )
    return layer, dense[0].weight.name


def _no_spec(cause: str) -> NNGraphsError:
    return NNGraphsError(
        "describe an architecture as a NetworkSpec",
        found=f"{cause}.",
        do="Use a chain of linear layers with activations and additive skips.",
    )
