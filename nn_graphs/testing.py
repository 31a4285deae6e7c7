"""Property tests that measure: symmetry and batch independence of models of neural graphs.

Every function runs a copy of the module in float64 (a plain function as it is), in the mode that
it is in (call `.eval()` if it has dropout). It returns the largest error that it met, and raises an
AssertionError that names the transformation, the output, the error and the tolerance. Errors are in
relation to the largest absolute value of what they are measured on. `certify_symmetries`, of the
networks themselves, returns what it found.

Example:
    assert_invariant(GraphModel(encoder, GraphHead(...)), template, params)
    assert_equivariant(GraphModel(encoder, ParameterHead(...)), template, params)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch_geometric.data import Batch

from nn_graphs.encoders.features import EncodedGraphs, Graphs
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.execution import network_outputs
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.symmetry import (
    SymmetryElement,
    SymmetryKind,
    apply_symmetries,
    apply_to_graphs,
    sample_symmetries,
)
from nn_graphs.graphs.symmetry.symmetry_certificate import (
    SymmetryCertificate,
    symmetry_certificate,
)
from nn_graphs.graphs.tracing import trace

TOLERANCE = 1e-9
NUM_POINTS = 32

Output = Tensor | Graphs | EncodedGraphs
Model = Callable[[Graphs], Output]


@torch.no_grad()
def assert_invariant(
    model: Model,
    template: GraphTemplate,
    params: Float[Tensor, "N num_params"],
    *,
    kinds: Sequence[SymmetryKind] = ("permutation",),
    tolerance: float = TOLERANCE,
    generator: torch.Generator | None = None,
) -> float:
    """What a model says of a network does not change with its symmetries.

    Args:
        model: neural graphs to one row per graph, `[B, ...]`.
        template: the architecture.
        params: networks; each gets symmetries of its own.
        kinds: kinds of symmetry, tried one by one.
        tolerance: largest error allowed.
        generator: of the symmetries.

    Returns:
        The largest error.

    Raises:
        AssertionError: a larger one.
        NNGraphsError: two runs of the model on the same graphs differ.
    """
    worst = 0.0
    runs = _runs_under_symmetries(model, template, params, kinds=kinds, generator=generator)
    for kind, _, before, after in runs:
        name = f"the output after a {kind} of neurons"
        worst = max(worst, _assert_close(after, before, name, tolerance))
    return worst


@torch.no_grad()
def assert_equivariant(
    model: Model,
    template: GraphTemplate,
    params: Float[Tensor, "N num_params"],
    *,
    kinds: Sequence[SymmetryKind] = ("permutation",),
    tolerance: float = TOLERANCE,
    generator: torch.Generator | None = None,
) -> float:
    """A model that changes networks does the same to a network after its symmetries.

    Every weight and every bias of the architecture is compared by itself, in relation to its own
    largest value; then what no parameter sets, missing biases and constant edges.

    Args:
        model: neural graphs to neural graphs, e.g. an encoder with a `ParameterHead`.
        template, params, kinds, tolerance, generator: see `assert_invariant`.

    Returns:
        The largest error.

    Raises:
        AssertionError: a larger one.
        NNGraphsError: two runs of the model on the same graphs differ.
    """
    worst = 0.0
    runs = _runs_under_symmetries(model, template, params, kinds=kinds, generator=generator)
    for kind, element, before, after in runs:
        expected = apply_to_graphs(template, before, element)
        for name, places in _places(template):
            error = _assert_close(
                places(after), places(expected), f"{name} after a {kind} of neurons", tolerance
            )
            worst = max(worst, error)
    return worst


@torch.no_grad()
def assert_sensitive(
    model: Model,
    template: GraphTemplate,
    params: Float[Tensor, "N num_params"],
    *,
    min_change: float = 1e-6,
) -> float:
    """The negative control: neurons that are moved in one weight alone do change the output.

    Args:
        model: neural graphs to one row per graph, or to neural graphs, which are compared as a set
            of values (sorted), so that it does not matter where they went.
        template, params: networks with different values in all weights.
        min_change: smallest change that counts, in relation to the largest output.

    Returns:
        The smallest change.

    Raises:
        AssertionError: a smaller one, or an architecture with nothing to move.
    """
    model, params = _prepared(model), params.double()
    before = _sorted_values(_run_twice(model, template.stack(params)))
    moves = dict(_uncoupled_moves(template, params))
    if not moves:
        raise AssertionError("No weight joins two or more hidden neurons to others.")
    after = _sorted_values(model(template.stack(torch.cat([*moves.values()]))))
    parts = zip(moves, after.split(len(params)), strict=True)
    changes = {name: _errors(part, before).max().item() for name, part in parts}
    name = min(changes, key=changes.get)
    if changes[name] < min_change:
        raise AssertionError(
            f"Moving {name} alone changes the output by {changes[name]:.1e}, less than "
            f"{min_change:.1e}: the model does not see how neurons are joined."
        )
    return changes[name]


@torch.no_grad()
def assert_batch_independent(
    model: Model, graphs: Sequence[NeuralGraphStack], *, tolerance: float = TOLERANCE
) -> float:
    """What a model says of a graph does not depend on its batch, nor on the batch's form.

    Each graph alone is compared with the same graph in its stack, in an edge-list batch of its
    stack, and in one batch of the graphs of all stacks, in this and in reversed order.

    Args:
        model: neural graphs to one row per graph, to `EncodedGraphs` or to neural graphs.
        graphs: stacks of any architectures; give two of different size to test the mix.
        tolerance: largest error allowed.

    Returns:
        The largest error.

    Raises:
        AssertionError: a larger one.
        NNGraphsError: two runs of the model on the same graphs differ.
    """
    model, worst = _prepared(model), 0.0
    stacks = [_doubled(stack) for stack in graphs]
    alone: list[list[Tensor]] = []
    for number, stack in enumerate(stacks):
        _run_twice(model, stack)
        singles = [stack.with_features(*_rows(stack, place)) for place in range(len(stack))]
        rows = [_per_graph(model(single), [single])[0] for single in singles]
        alone += rows
        for form, batch in (("its stack", stack), ("a batch of its stack", _batch(stack))):
            inside = _per_graph(model(batch), [stack])
            worst = max(worst, _compare(inside, rows, f"stack {number} in {form}", tolerance))
    members = [graph for stack in stacks for graph in stack]
    mixed = _per_graph(model(_batch(members)), stacks)
    worst = max(worst, _compare(mixed, alone, "the batch of all stacks", tolerance))
    backward = _per_graph(model(_batch(members[::-1])), members[::-1])
    return max(worst, _compare(backward[::-1], alone, "the reversed batch", tolerance))


@torch.no_grad()
def assert_function_unchanged(
    template: GraphTemplate,
    params: Float[Tensor, "N num_params"],
    element: SymmetryElement,
    *,
    tolerance: float = TOLERANCE,
    generator: torch.Generator | None = None,
) -> float:
    """Networks compute the same after a symmetry, at random inputs.

    Args:
        template, params: the networks.
        element: one symmetry for each of them.
        tolerance: largest error allowed.
        generator: of the inputs, normal with deviation 1.

    Returns:
        The largest error.

    Raises:
        AssertionError: a larger one.
    """
    params, element = params.double(), _exact(element)
    num_inputs = template.num_neurons(NeuronKind.INPUT)
    inputs = torch.randn(NUM_POINTS, num_inputs, dtype=torch.float64, generator=generator)
    moved = apply_symmetries(template, params, element)
    before = network_outputs(template.stack(params), inputs)
    after = network_outputs(template.stack(moved), inputs)
    return _assert_close(after, before, "the networks' output after the symmetry", tolerance)


def certify_symmetries(
    module: nn.Module,
    inputs: Tensor | tuple[Tensor, ...],
    *,
    generator: torch.Generator | None = None,
    tolerance: float = 1e-6,
) -> SymmetryCertificate:
    """How many directions of a small network's parameters change no output, and which they are.

    Args:
        module: that `trace` follows; a copy of it is looked at in float64.
        inputs: what its forward takes; floats are drawn anew, integers stay.
        generator: source of randomness; None: always the same.
        tolerance: by how much scales of the record may change outputs, relative to the largest.

    Raises:
        AssertionError: a scale that the record of symmetries allows changes an output.
        NNGraphsError: the module is not traced, or has too many parameters.

    Example:
        `str(certify_symmetries(attention, x))`: "36 of 144 directions change no output (... maps of
        queries and keys 18, maps between layers 12); 0 are not explained".
    """
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    inputs = tuple(own.double() if own.is_floating_point() else own for own in inputs)
    copy = deepcopy(module).double().eval()
    generator = generator or torch.Generator().manual_seed(0)
    found = symmetry_certificate(copy, trace(copy, inputs), inputs, generator=generator)
    assert found.wrong < tolerance, f"a scale of the record changes outputs by {found.wrong:.1e}"
    return found


# Running models.


def _prepared(model: Model) -> Model:
    return deepcopy(model).double() if isinstance(model, nn.Module) else model


def _runs_under_symmetries(
    model: Model,
    template: GraphTemplate,
    params: Float[Tensor, "N num_params"],
    *,
    kinds: Sequence[SymmetryKind],
    generator: torch.Generator | None,
) -> Iterator[tuple[SymmetryKind, SymmetryElement, Output, Output]]:
    """For each kind: symmetries of all networks, and what a model says before and after them."""
    model, params = _prepared(model), params.double()
    before = _run_twice(model, template.stack(params))
    for kind in kinds:
        element = sample_symmetries(
            template, len(params), kinds=[kind], generator=generator, dtype=torch.float64
        )
        after = model(template.stack(apply_symmetries(template, params, element)))
        yield kind, element, before, after


def _run_twice(model: Model, graphs: Graphs) -> Output:
    first, second = model(graphs), model(graphs)
    same = zip(_tensors(first), _tensors(second), strict=True)
    if not all(torch.equal(one.nan_to_num(), other.nan_to_num()) for one, other in same):
        raise NNGraphsError(
            "measure a symmetry of a model",
            found="two runs on the same graphs differ, it has dropout or other random parts.",
            do="Call model.eval() before.",
        )
    return first


def _tensors(output: Output) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, EncodedGraphs):
        parts = [output.nodes, output.edges, output.graph]
        return [part for part in parts if part is not None]
    return [output.node_features, output.edge_features]


# Transformations.


def _exact(element: SymmetryElement) -> SymmetryElement:
    return replace(
        element,
        factor=element.factor.double(),
        shift=element.shift.double(),
        turn=element.turn.double(),
    )


def _uncoupled_moves(
    template: GraphTemplate, params: Tensor
) -> Iterable[tuple[str, Float[Tensor, "N num_params"]]]:
    """The networks with one weight whose rows, or columns, are moved by one."""
    for block in template.blocks:
        for axis, group, place in ((1, block.target, "rows"), (2, block.source, "columns")):
            is_hidden = template.groups[group].kind is NeuronKind.HIDDEN
            if block.weight is None or not is_hidden or block.weight.shape[axis - 1] < 2:
                continue
            moved = params.clone()
            view = template.parameters.view(moved, block.weight)
            view.copy_(view.roll(1, dims=axis).clone())
            yield f"the {place} of {block.weight.name}", moved


# Comparing.


def _places(
    template: GraphTemplate,
) -> Iterable[tuple[str, Callable[[NeuralGraphStack], Tensor]]]:
    """Names of the biases and weights, and where a stack of graphs shows them."""

    def nodes(places: slice | Tensor) -> Callable[[NeuralGraphStack], Tensor]:
        return lambda graphs: graphs.node_features[:, places]

    def edges(places: slice | Tensor) -> Callable[[NeuralGraphStack], Tensor]:
        return lambda graphs: graphs.with_own_kernels().edge_features[:, places]

    for group in template.groups:
        if group.bias is not None:
            yield group.bias.name, nodes(slice(group.start, group.stop))
    for block in template.blocks:
        if block.weight is not None:
            yield block.weight.name, edges(slice(block.first_value, block.last_value))
    structure = template.structure()
    yield "a missing bias", nodes(~structure.has_bias)
    yield "a constant edge", edges((structure.edge_kind_id != 0)[template.edge_of_value])


def _assert_close(found: Tensor, expected: Tensor, name: str, tolerance: float) -> float:
    """The largest error of any row, which must not be above the tolerance."""
    errors = _errors(found, expected)
    if not errors.numel():
        return 0.0
    worst = errors.max().item()
    if not worst <= tolerance:  # NaN is no success
        row = errors.nan_to_num(nan=torch.inf).argmax().item()
        raise AssertionError(
            f"{name}, graph {row}, is off by {worst:.1e}, more than {tolerance:.1e} "
            f"(of the largest value, {expected.abs().max():.3g})."
        )
    return worst


def _errors(found: Tensor, expected: Tensor) -> Float[Tensor, "rows"]:
    """Largest difference in each row, in relation to the largest value of all."""
    if found.shape != expected.shape:
        raise AssertionError(f"The output is {list(found.shape)}, not {list(expected.shape)}.")
    if not expected.numel():
        return expected.new_zeros(0)
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    difference = (found - expected).abs() / scale
    return difference.reshape(len(expected), -1).amax(1)


def _sorted_values(output: Tensor | Graphs) -> Tensor:
    if isinstance(output, Tensor):
        return output
    return torch.cat([part.flatten(1).sort(dim=1).values for part in _tensors(output)], dim=1)


# Batches.


def _doubled(stack: NeuralGraphStack) -> NeuralGraphStack:
    return stack.with_features(stack.node_features.double(), stack.edge_features.double())


def _rows(stack: NeuralGraphStack, place: int) -> tuple[Tensor, Tensor]:
    rows = slice(place, place + 1)
    return stack.node_features[rows], stack.edge_features[rows]


def _batch(graphs: Iterable[NeuralGraph]) -> NeuralGraph:
    return Batch.from_data_list(list(graphs))


def _per_graph(output: Output, graphs: Sequence[Graphs]) -> list[list[Tensor]]:
    """An output for several graphs as tensors of each: its row, or its neurons and edges."""
    if isinstance(output, Tensor):
        return [[row] for row in output]
    sizes = [
        (len(graph.structure.layer_id), graph.structure.edge_index.shape[1])
        for graph in graphs
        for _ in range(graph.num_graphs)
    ]
    nodes, edges, *vectors = _tensors(output)
    parts = [
        nodes.flatten(0, -2).split([num_nodes for num_nodes, _ in sizes]),
        edges.flatten(0, -2).split([num_edges for _, num_edges in sizes]),
        *(vector.unbind() for vector in vectors),
    ]
    return [list(tensors) for tensors in zip(*parts, strict=True)]


def _compare(
    found: list[list[Tensor]], expected: list[list[Tensor]], form: str, tolerance: float
) -> float:
    """The largest error over all graphs and all their tensors."""
    worst = 0.0
    for number, (tensors, others) in enumerate(zip(found, expected, strict=True)):
        for part, (tensor, other) in enumerate(zip(tensors, others, strict=True)):
            name = f"Output {part} of graph {number} of {form} instead of alone"
            if tensor.numel():
                rows = (tensor.unsqueeze(0), other.unsqueeze(0))
                worst = max(worst, _assert_close(*rows, name, tolerance))
    return worst
