"""Architectures given as data: what their networks compute, and their templates."""

from nn_graphs.graphs.builder.build import build_template
from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Convolve,
    Flatten,
    Input,
    Linear,
    Operation,
    Output,
    Pass,
    Shift,
)
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.steps import Convolution, Reshape, Step
from nn_graphs.networks.parameters import ParameterSlot
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec


def template_from_spec(spec: NetworkSpec) -> GraphTemplate:
    """The graph template of an architecture, in milliseconds."""
    return build_template(spec_operations(spec), spec.parameters)


def spec_operations(spec: NetworkSpec) -> list[Operation]:
    """What the networks of an architecture compute."""
    num_axes = spec.num_axes
    operations: list[Operation] = [Input(spec.in_width, -1 - num_axes[0])]
    outputs = [0]  # number of the value that each layer puts out
    for index, layer in enumerate(spec.layers):
        weight = spec.parameters.slot(f"layers.{index}.weight")
        bias = spec.parameters.slot(f"layers.{index}.bias") if layer.has_bias else None
        if layer.conv is not None:
            operations.append(Convolve(outputs[-1], weight, bias, _movement(layer.conv)))
        else:
            if num_axes[index]:
                operations.append(_reading_places(outputs[-1], layer, num_axes[index], weight))
            source = len(operations) - 1 if num_axes[index] else outputs[-1]
            operations.append(Linear(source, weight, bias))
        for skip in layer.skips:
            operations.append(Add(len(operations) - 1, outputs[skip]))
        if layer.activation.name != "none":
            operations.append(Activate(len(operations) - 1, layer.activation))
        if layer.offset:
            operations.append(Shift(len(operations) - 1, layer.offset))
        outputs.append(len(operations) - 1)
    return [*operations, Output(outputs[-1])]


def _movement(conv: ConvSpec) -> Convolution:
    return Convolution(conv.stride, conv.padding, dilation=(1,) * conv.num_axes)


def _reading_places(
    source: int, layer: LayerSpec, num_axes: int, weight: ParameterSlot
) -> Pass | Flatten:
    """How a linear layer reads maps."""
    if layer.num_places is None:
        places = tuple(range(-num_axes, 0))
        return Pass(source, Step("aten.mean.dim", (places,)), axis=-1)
    shape = (-1, weight.shape[1])
    return Flatten(source, Reshape(shape, -1 - num_axes, 1, repeat=layer.num_places), axis=-1)
