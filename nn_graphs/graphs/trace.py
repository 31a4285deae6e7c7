"""Any torch module to a graph template, through torch.export.

The exported program is a flat list of ATen operations, whatever the module's nesting or style. Each
known one has a rule (`tracing/rules.py`) that writes it in the builder's language; a new operation
is one more rule.
"""

import sysconfig
import traceback
import warnings
from collections.abc import Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder import Flattening, build_template
from nn_graphs.graphs.template import GraphTemplate
from nn_graphs.graphs.tracing.patterns import with_named_operations
from nn_graphs.graphs.tracing.rules import RULES
from nn_graphs.graphs.tracing.tracer import Tracer, known_operations
from nn_graphs.networks.parameters import ParameterLayout

EINSUM = torch.ops.aten.einsum.default


def trace(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    *,
    flattening: Flattening = "parallel_edges",
) -> GraphTemplate:
    """The graph template of a module's architecture.

    Args:
        module: any module of supported operations; it is traced in evaluation mode.
        example_inputs: what its `forward` takes, e.g. `torch.zeros(1, 2)`; only shapes matter.
        flattening: how a linear map reads channels at several places: by parallel edges with a
            `position_id`, or from nodes that repeat each channel (`"repeat_nodes"`).

    Returns:
        The template; `template(module)` is the module's neural graph, and `template(other)` that
        of any other network of this architecture.

    Raises:
        NNGraphsError: torch.export cannot follow the module, or it uses an unknown operation; or
            this is no module, or no tensors are given.
    """
    inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
    _check_arguments(module, inputs)
    with _evaluation_mode(module):
        program = _export(module, inputs)
    parameters = ParameterLayout.from_module(module)
    operations = Tracer(with_named_operations(program), parameters, RULES).operations()
    return build_template(operations, parameters, flattening=flattening)


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


@contextmanager
def _evaluation_mode(module: nn.Module):
    modes = {child: child.training for child in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for child, mode in modes.items():
            child.training = mode


def _export(module: nn.Module, inputs: tuple[Tensor, ...]) -> ExportedProgram:
    """The module as a list of ATen operations, none of which writes into its inputs."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch warns of its own internals
            warnings.filterwarnings("ignore", ".*were assigned during export")  # recurrent layers
            program = torch.export.export(module, inputs)
            targets = {node.target for node in program.graph.nodes}
            if EINSUM in targets:
                table = torch.export.default_decompositions()
                return program.run_decompositions({EINSUM: table[EINSUM]})
            return program.run_decompositions({}) if _writes_in_place(targets) else program
    except Exception as error:
        place = _line_of_user(error)
        lines = [line for line in str(error).splitlines() if line.strip()]
        reason = lines[0].rstrip(".") if lines else type(error).__name__
        shapes = ", ".join(str(list(each.shape)) for each in inputs if isinstance(each, Tensor))
        raise NNGraphsError(
            f"trace a {type(module).__name__} on example inputs of the shapes {shapes}",
            found=f"torch.export says: {reason}{place}.",
            do="The forward pass must run on the example inputs and not branch on their values.",
        ) from error


def _line_of_user(error: BaseException) -> str:
    """The line of the module's own code that an error came from."""
    frames = traceback.extract_tb(error.__traceback__)
    inner = str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<"
    standard = sysconfig.get_path("stdlib")
    own = [
        frame
        for frame in frames
        if not frame.filename.startswith(inner)
        and not (frame.filename.startswith(standard) and "site-packages" not in frame.filename)
    ]
    return f" (in line {own[-1].lineno} of {own[-1].filename}: {own[-1].line})" if own else ""


def _writes_in_place(targets: Iterable) -> bool:
    """Whether an operation changes a value that others may have seen before."""
    return any(isinstance(t, torch._ops.OpOverload) and t._schema.is_mutable for t in targets)
