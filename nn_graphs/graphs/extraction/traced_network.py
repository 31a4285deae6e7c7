"""From a module to graphs of it: how large they will be, and the graphs themselves.

The published way (`deepstruct`, GraphTransform) walks submodules in the order of their
registration; here the graph follows the operations that run (`trace`), so that skips, gates,
reused modules and padding are in it.
"""

import difflib
import math
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction.channel_levels import layer_plan, neuron_plan
from nn_graphs.graphs.extraction.graph_plan import GraphPlan, GraphSize
from nn_graphs.graphs.extraction.module_level import module_plan
from nn_graphs.graphs.extraction.module_stand_in import stand_in
from nn_graphs.graphs.extraction.network_graph import NetworkGraph, built
from nn_graphs.graphs.extraction.unit_level import unit_plan
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.parameter_places import check_values
from nn_graphs.graphs.tracing import trace

LEVELS = ("unit", "neuron", "layer", "module")
"""From fine to coarse: elements of values, channels, layers, calls of submodules."""

MAX_EDGES = 100_000_000
"""Graphs of more edges (1.6 GB in single precision) are not made unless that is asked for."""


class TracedNetwork:
    """A network that has been followed once, of which graphs of any level can be made.

    The module is never changed: what is traced shares its tensors. Weights are read when a graph
    is planned, masks and parametrizations when the module is given.

    Args:
        module: any module that `nn_graphs.trace` can follow; for the level "module", any that
            torch.export can follow.
        example_inputs: what its `forward` takes; only shapes matter.
        is_batched: whether the first axis of the inputs counts samples. Graphs are of one sample.

    Raises:
        NNGraphsError: this is no module.
    """

    def __init__(
        self,
        module: nn.Module,
        example_inputs: Tensor | tuple[Tensor, ...],
        *,
        is_batched: bool = True,
    ):
        if not isinstance(module, nn.Module):
            raise NNGraphsError(
                "extract a graph of a network",
                found=f"this is {module!r:.60}, no torch module.",
                do="Give a module, as MyNetwork() and not MyNetwork.",
            )
        inputs = example_inputs if isinstance(example_inputs, tuple) else (example_inputs,)
        self.inputs = one_sample(inputs) if is_batched else inputs
        self.module = stand_in(module)
        self._plans: dict[str, GraphPlan] = {}

    @cached_property
    def template(self) -> GraphTemplate:
        """The network's graph template, which the levels "unit", "neuron" and "layer" are from.

        Raises:
            NNGraphsError: the module cannot be traced.
        """
        return trace(self.module, self.inputs)

    def params(self) -> np.ndarray:
        """The flat parameter vector, in single or double precision.

        Raises:
            NNGraphsError: a parameter is NaN or infinite.
        """
        if not self.template.parameters.slots:
            return np.zeros(0, dtype=np.float32)
        params = self.template.parameters.flatten(self.module)
        check_values(self.template.parameters, params)
        is_double = params.dtype == torch.float64
        return params.to(torch.float64 if is_double else torch.float32).cpu().numpy()

    def plan(self, level: str) -> GraphPlan:
        """What the graph of a level is made of, without its edges; made once.

        Raises:
            NNGraphsError: there is no such level, or the network has no graph of it.
        """
        check_level(level)
        if level not in self._plans:
            self._plans[level] = self._planned(level)
        return self._plans[level]

    def _planned(self, level: str) -> GraphPlan:
        if level == "module":
            return module_plan(self.module, self.inputs)
        if level == "neuron":
            return neuron_plan(self.template, self.params())
        if level == "layer":
            return layer_plan(self.template, self.params())
        shapes = _input_shapes(self.template, self.inputs)
        return unit_plan(self.template, self.params(), shapes)

    def size(self, level: str = "unit", *, threshold: float | int | None = 0.0) -> GraphSize:
        """How large a graph will be, exactly, by arithmetic.

        Raises:
            NNGraphsError: see `plan`; or the threshold is no number of at least 0.
        """
        check_threshold(threshold)
        return self.plan(level).size(threshold)

    def graph(
        self,
        level: str = "unit",
        *,
        threshold: float | int | None = 0.0,
        max_edges: int | None = MAX_EDGES,
    ) -> NetworkGraph:
        """The graph of a level.

        Args:
            level: one of `LEVELS`.
            threshold: edges of linear maps and convolutions whose weights are at most this far from
                zero are left out: by default those that are exactly zero, as behind a mask. None
                keeps all, for the graph of the architecture.
            max_edges: a larger graph is refused; None: no limit.

        Raises:
            NNGraphsError: the graph would have more edges; see also `size`.
        """
        size = self.size(level, threshold=threshold)
        if max_edges is not None and size.num_edges > max_edges:
            raise self._too_large(size, threshold, max_edges)
        return built(self.plan(level), threshold)

    def _too_large(
        self, size: GraphSize, threshold: float | int | None, max_edges: int
    ) -> NNGraphsError:
        coarser = LEVELS[LEVELS.index(size.level) + 1 :]
        sizes = (self.size(level, threshold=threshold) for level in coarser)
        fits = next((each for each in sizes if each.num_edges <= max_edges), None)
        advice = f"The level that fits is {fits}; or" if fits else "No coarser level fits; you may"
        return NNGraphsError(
            f"build a graph of at most {max_edges:,} edges",
            found=f"it would be {size}.",
            do=f"{advice} stream the edges to a file (stream_edges), or set max_edges higher.",
        )


def extract_graph(
    module: nn.Module,
    example_inputs: Tensor | tuple[Tensor, ...],
    *,
    level: str = "unit",
    threshold: float | int | None = 0.0,
    max_edges: int | None = MAX_EDGES,
    is_batched: bool = True,
) -> NetworkGraph:
    """The graph of a network, in the order in which it computes.

    See `TracedNetwork` and `TracedNetwork.graph` for the arguments and errors.
    """
    check_level(level)
    check_threshold(threshold)
    network = TracedNetwork(module, example_inputs, is_batched=is_batched)
    return network.graph(level, threshold=threshold, max_edges=max_edges)


def one_sample(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inputs for the first sample alone, where their first axes agree on how many there are."""
    tensors = [value for value in inputs if isinstance(value, Tensor) and value.ndim > 1]
    if len({len(value) for value in tensors}) != 1:
        return inputs
    return tuple(v[:1] if isinstance(v, Tensor) and v.ndim > 1 else v for v in inputs)


def check_level(level: str) -> None:
    """Raises for a level that there is not, with those that are nearest in name."""
    if level not in LEVELS:
        near = difflib.get_close_matches(str(level), LEVELS, n=2, cutoff=0.4)
        raise NNGraphsError(
            f"extract a graph at the level {level!r}",
            found="there is no such level.",
            do=f"Choose {' or '.join(map(repr, near or LEVELS))}"
            + (f", of {', '.join(LEVELS)}." if near else "."),
        )


def check_threshold(threshold: float | int | None) -> None:
    """Raises for a threshold that is no number, NaN or negative."""
    if threshold is None:
        return
    is_number = isinstance(threshold, int | float) and not isinstance(threshold, bool)
    if not is_number or math.isnan(threshold) or threshold < 0:
        raise NNGraphsError(
            f"leave out edges below the threshold {threshold!r}",
            found="it is no number of at least 0.",
            do="Give 0 to leave out weights that are exactly zero, None to keep all edges.",
        )


def _input_shapes(template: GraphTemplate, inputs: tuple) -> list[tuple[int, ...]]:
    """The shapes of the inputs; a token is a node for each word it may be."""
    widths = [group.width for group in template.groups if group.kind.name == "INPUT"]
    shapes = []
    for value in (value for value in inputs if isinstance(value, Tensor)):
        is_token = not value.is_floating_point()
        width = widths[len(shapes)] if len(shapes) < len(widths) else 0
        shapes.append((*value.shape, width) if is_token else tuple(value.shape))
    return shapes
