"""Any torch module to a graph template, through torch.export.

The exported program is a flat list of ATen operations, whatever the module's nesting or style. Each
known one has a rule (in one of the files `*_rules.py`) that writes it in the builder's language; a
new operation is one more rule.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, Literal, get_args

from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.graphs.builder import Flattening, build_template
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.tracing.activation_rules import ACTIVATIONS, GATES, IDENTITIES
from nn_graphs.graphs.tracing.arithmetic_rules import ARITHMETIC, MASKS, NEGATIVES
from nn_graphs.graphs.tracing.attention_rules import PRODUCTS
from nn_graphs.graphs.tracing.computed_weights import KEPT, MOVED, computing
from nn_graphs.graphs.tracing.exported_program import exported_program
from nn_graphs.graphs.tracing.layer_rules import LAYERS
from nn_graphs.graphs.tracing.moving_rules import (
    JOINS,
    MOVES,
    SHAPES,
    item,
    item_of_parts,
    joined,
    moving,
)
from nn_graphs.graphs.tracing.opaque_operations import LenientTracer
from nn_graphs.graphs.tracing.pointwise_rules import ELEMENTS, OTHERS, keeping
from nn_graphs.graphs.tracing.pooling_rules import PLACES
from nn_graphs.graphs.tracing.recurrent_rules import RECURRENT
from nn_graphs.graphs.tracing.refusals import shortened
from nn_graphs.graphs.tracing.statistics_rules import STATISTICS
from nn_graphs.graphs.tracing.tracer import Rule, Tracer, known_operations
from nn_graphs.networks.parameters import ParameterLayout

Unknown = Literal["error", "opaque"]


def _wrapped(rules: Mapping[Callable, Rule], wrapper: Callable[[Rule], Rule]) -> dict:
    return {target: wrapper(rule) for target, rule in rules.items()}


RULES: dict[Callable, Rule] = (
    LAYERS
    | GATES
    | IDENTITIES
    | _wrapped(ACTIVATIONS | ELEMENTS | NEGATIVES, keeping)
    | OTHERS
    | ARITHMETIC
    | PLACES
    | STATISTICS
    | _wrapped(SHAPES, moving)
    | _wrapped(JOINS, joined)
    | {operator.getitem: item_of_parts(item)}
    | MOVES
    | PRODUCTS
    | MASKS
    | RECURRENT
)
RULES |= {target: computing(RULES[target]) for target in (*KEPT, *MOVED)}


def trace(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    *,
    flattening: Flattening = "parallel_edges",
    unknown: Unknown = "error",
) -> GraphTemplate:
    """The graph template of a module's architecture.

    Args:
        module: any module of supported operations; it is traced in evaluation mode.
        example_inputs: what its `forward` takes, e.g. `torch.zeros(1, 2)`; only shapes matter.
        flattening: how a linear map reads channels at several places: by parallel edges with a
            `position_id`, or from nodes that repeat each channel (`"repeat_nodes"`).
        unknown: what becomes of operations that `trace` does not know: an error, or `"opaque"`
            neurons without symmetries, which `template.opaque_operations` lists; such a graph
            cannot be run, and parameters that only they read stand on none of its edges.

    Returns:
        The template; `template(module)` is the module's neural graph, and `template(other)` that
        of any other network of this architecture.

    Raises:
        NNGraphsError: torch.export cannot follow the module, or it uses an unknown operation; or
            this is no module, or no tensors are given.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    _check_arguments(module, inputs)
    check_known(unknown, get_args(Unknown), asked=f"trace a network with unknown={unknown!r}")
    program = exported_program(module, inputs)
    parameters = ParameterLayout.from_module(module)
    tracer = (Tracer if unknown == "error" else LenientTracer)(program, parameters, RULES)
    operations = tracer.operations()
    try:
        return build_template(operations, parameters, flattening=flattening, masks=tracer.masks)
    except NNGraphsError:
        raise
    except Exception as error:
        raise NNGraphsError(
            f"make a neural graph of this {shortened(type(module).__name__, 40)}",
            found=f"its operations do not fit together ({shortened(repr(error), 120)}).",
            do="Trace its submodules one by one, to find the one that is meant.",
        ) from error


def traceable_operations() -> list[str]:
    """Names of the ATen operations that `trace` knows."""
    return known_operations(RULES)


def _check_arguments(module: Any, inputs: tuple[Any, ...]) -> None:
    if not isinstance(module, nn.Module):
        is_class = isinstance(module, type)
        raise NNGraphsError(
            "trace a network",
            found=f"this is {'the class' if is_class else 'a'} "
            f"{module.__name__ if is_class else type(module).__name__}, no torch module.",
            do="Give a module, as MyNetwork() and not MyNetwork.",
        )
    if not any(isinstance(value, Tensor) for value in inputs):
        kinds = ", ".join(type(value).__name__ for value in inputs) or "nothing"
        raise NNGraphsError(
            f"trace a {type(module).__name__}",
            found=f"no tensor is among its example inputs ({kinds}).",
            do="Give what its forward takes: a tensor, or a tuple of tensors.",
        )
