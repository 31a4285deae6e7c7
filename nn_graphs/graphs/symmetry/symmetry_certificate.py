"""How many directions of parameter space change no output, and which of them are understood.

The Jacobian of a network's outputs by its parameters, at random inputs, has a null space: all that
can be done to the parameters, a little, without a change of the function. Its dimension is counted,
and compared with the span of the moves that the network's graph proposes: scales of its neurons
(the record of symmetries), and beside it linear maps between neurons without activation (`GL` per
attention head), turns and shifts of what a norm reads, biases that softmax or a later bias takes
up, parameters that nothing depends on. A proposal counts where the Jacobian maps it to zero: what
is told is measured. Buffers, as running statistics, stay.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev
from torch.nn.attention import SDPBackend, sdpa_kernel

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parameter_numbers import parameter_numbers
from nn_graphs.graphs.parts.edge_blocks import EdgeKind
from nn_graphs.graphs.parts.group_rules import Match, Normalization, Pairing, Sum
from nn_graphs.graphs.parts.node_groups import NodeGroup
from nn_graphs.graphs.symmetry.symmetry_elements import apply_symmetries, sample_symmetries

LARGEST = 4000  # parameters: the Jacobian has a column for each
STEP = 1e-4
SPREAD = 3.0  # of inputs: each neuron shall be seen on both sides of its kink
NUM_OUTPUTS = 8  # for each parameter
TOLERANCE = 1e-6  # of singular values and of moves, relative to the largest


@dataclass(frozen=True)
class SymmetryCertificate:
    """What changes no output.

    Attributes:
        num_params: of the network, without buffers.
        nullity: dimension of the moves that change no output.
        dimensions: of those, how many are of each kind, in order; what two kinds share counts for
            the first.
        wrong: the largest change of an output that a scale of the record makes; rounding, or the
            record is wrong.
    """

    num_params: int
    nullity: int
    dimensions: dict[str, int]
    wrong: float

    @property
    def unexplained(self) -> int:
        return self.nullity - sum(self.dimensions.values())

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in self.dimensions.items() if count)
        kinds = f" ({kinds})" if kinds else ""
        return (
            f"{self.nullity} of {self.num_params} directions change no output{kinds}; "
            f"{self.unexplained} are not explained"
        )


def symmetry_certificate(
    module: nn.Module,
    template: GraphTemplate,
    inputs: tuple[Tensor, ...],
    *,
    generator: torch.Generator | None = None,
) -> SymmetryCertificate:
    """Counts the directions that change no output of a small network, and explains them.

    Args:
        module: in float64; it is run in evaluation mode.
        template: of the module.
        inputs: what it takes; floats are drawn anew, integers stay.
        generator: of the inputs and scales.

    Raises:
        NNGraphsError: the network has more than `LARGEST` parameters, or its outputs are no finite
            numbers.
    """
    if template.num_params > LARGEST:
        raise NNGraphsError(
            f"find what leaves the outputs of {template.num_params} parameters alone",
            found=f"the Jacobian would have a column for each, more than {LARGEST}.",
            do="Take a smaller instance of the architecture.",
        )
    params = template.parameters.flatten(module).double()
    is_free = _is_parameter(module, template)
    jacobian = _jacobian(module.eval(), template, params, inputs, generator)
    values = torch.linalg.svdvals(jacobian)
    scale = values[0].clamp_min(torch.finfo(values.dtype).tiny)  # of constant outputs it is 0
    num_free = int(is_free.sum())
    nullity = num_free - int((values > TOLERANCE * scale).sum())
    span = _Span(jacobian / scale)
    moves = _Moves(template, params)
    record = _scales_of_record(template, params, generator)
    wrong = float((jacobian @ record.T).abs().max() / scale) if len(record) else 0.0
    is_unread = is_free & (jacobian.abs().amax(0) <= TOLERANCE * scale)
    kinds: dict[str, Sequence[Tensor] | Iterator[Tensor]] = {
        "parameters without effect": torch.eye(len(params), dtype=params.dtype)[is_unread],
        "scales of the record": record,
        "scales beside it": moves.scales(),
        "maps of queries and keys": moves.maps_of_matches(),
        "maps between layers": moves.maps_between_layers(),
        "biases": moves.biases(),
        "rotations and shifts of norms": moves.of_norms(),
    }
    return SymmetryCertificate(
        num_free, nullity, {name: span.add(own, is_free) for name, own in kinds.items()}, wrong
    )


def _is_parameter(module: nn.Module, template: GraphTemplate) -> Bool[Tensor, "num_params"]:
    """Which values are of parameters, and not of buffers."""
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    parts = [torch.full((s.size,), s.name in names) for s in template.parameters.slots]
    return torch.cat(parts)


def _jacobian(
    module: nn.Module,
    template: GraphTemplate,
    params: Tensor,
    inputs: tuple[Tensor, ...],
    generator: torch.Generator | None,
) -> Float[Tensor, "outputs num_params"]:
    """Of outputs at random inputs, at least as many as parameters and some more."""

    buffers = dict(module.named_buffers(remove_duplicate=False))

    def outputs(flat: Tensor, drawn: tuple[Tensor, ...]) -> Tensor:
        found = functional_call(module, template.parameters.unflatten(flat) | buffers, drawn)
        return torch.cat(
            [own.flatten() for own in (found if isinstance(found, tuple) else [found])]
        )

    rows: list[Tensor] = []
    while sum(map(len, rows)) < NUM_OUTPUTS * len(params):
        drawn = tuple(
            SPREAD * torch.randn(own.shape, dtype=torch.float64, generator=generator)
            if own.is_floating_point()
            else own
            for own in inputs
        )
        found = outputs(params, drawn)
        if not len(found) or not found.is_floating_point() or not found.isfinite().all():
            raise NNGraphsError(
                "find what leaves a network's outputs alone",
                found=f"they are {len(found)} of {found.dtype}, not all of them finite numbers.",
                do="Give a module, and example inputs, with finite outputs.",
            )
        with sdpa_kernel(SDPBackend.MATH):  # which goes over many outputs at once
            rows.append(jacrev(outputs)(params, drawn))
    return torch.cat(rows)


def _scales_of_record(
    template: GraphTemplate, params: Tensor, generator: torch.Generator | None
) -> Float[Tensor, "draws num_params"]:
    """Tangents of drawn scales, enough to span them all."""
    num_neurons = int(template.neuron_rules.allows_scale.sum())
    if not num_neurons:
        return params.new_zeros(0, len(params))
    count = num_neurons + 4
    element = sample_symmetries(
        template,
        count,
        kinds=["scale"],
        generator=generator,
        max_log_scale=STEP,
        dtype=torch.float64,
    )
    stack = params.expand(count, -1)
    ahead = apply_symmetries(template, stack, element)
    return (ahead - apply_symmetries(template, stack, element.inverse())) / (2 * STEP)


class _Span:
    """The span of the moves so far, which all change no output."""

    def __init__(self, jacobian: Tensor):
        self._jacobian = jacobian
        self._basis = jacobian.new_zeros(0, jacobian.shape[1])

    def add(self, moves: Sequence[Tensor] | Iterator[Tensor], is_free: Tensor) -> int:
        """How many dimensions the span grows by those of the moves that change no output.

        Moves of buffers are none.
        """
        before = len(self._basis)
        for move in moves:
            length = move.norm()
            if length == 0 or move[~is_free].any():
                continue
            move = move / length
            if (self._jacobian @ move).abs().max() > TOLERANCE:
                continue
            for _ in range(2):  # once more, against rounding
                move = move - self._basis.T @ (self._basis @ move)
            if move.norm() > math.sqrt(TOLERANCE):
                self._basis = torch.cat([self._basis, (move / move.norm()).unsqueeze(0)])
        return len(self._basis) - before


class _Moves:
    """Moves of parameters that a network's graph proposes."""

    def __init__(self, template: GraphTemplate, params: Tensor):
        self._template, self._params = template, params
        biases, values = parameter_numbers(template)
        ends = template.structure().edge_index[:, template.edge_of_value]
        self._into, self._out_of = defaultdict(list), defaultdict(list)
        self._statistics: dict[int, dict[EdgeKind, Tensor]] = defaultdict(dict)
        kinds = [
            block.kind
            for block in template.blocks
            for _ in range(block.last_value - block.first_value)
        ]
        for source, target, place, kind in zip(*ends.tolist(), values.tolist(), kinds, strict=True):
            if kind in (EdgeKind.MEAN, EdgeKind.VARIANCE):
                self._statistics[target][kind] = params[place]
                continue
            self._into[target].append((source, place))
            self._out_of[source].append((target, place))
        self._bias = biases.tolist()
        self._group = [group for group in template.groups for _ in range(group.width)]

    def scales(self) -> Iterator[Tensor]:
        """All that comes into a neuron grows, all that goes out shrinks."""
        for neuron in range(self._template.num_nodes):
            row, column = self._row(neuron), self._column(neuron)
            if row and column:
                move = torch.zeros_like(self._params)
                move[row] += self._params[row]
                self._subtract(move, column, column)
                yield move

    def maps_of_matches(self) -> Iterator[Tensor]:
        """A channel of the queries is added to another, and taken from the keys."""
        for number, group in enumerate(self._template.groups):
            if not isinstance(group.rule, Match):
                continue
            blocks = [block for block in self._template.blocks if block.target == number]
            queries, keys = (
                torch.tensor(block.joins[0]).view(group.width, -1)
                + self._template.groups[block.source].start
                + block.first_source
                for block in blocks
            )
            for mine, theirs in zip(queries.tolist(), keys.tolist(), strict=True):
                yield from self._maps([*map(self._row, mine)], [*map(self._row, theirs)])

    def maps_between_layers(self) -> Iterator[Tensor]:
        """A neuron without activation is added to another of its layer, and undone behind it."""
        for group in self._template.groups:
            if self._is_linear(group):
                neurons = range(group.start, group.stop)
                rows = [self._row(neuron) for neuron in neurons]
                yield from self._maps(rows, [self._column(neuron) for neuron in neurons])

    def biases(self) -> Iterator[Tensor]:
        """A bias alone, or taken up by those behind it."""
        for neuron, place in enumerate(self._bias):
            if place < 0:
                continue
            alone = torch.zeros_like(self._params)
            alone[place] = 1
            yield alone
            taken_up = alone.clone()
            for target, weight in self._readers(neuron):
                if self._bias[target] >= 0:
                    taken_up[self._bias[target]] -= self._params[weight]
            yield taken_up

    def of_norms(self) -> Iterator[Tensor]:
        """What a layer or RMS norm reads is turned, or shifted, and turned back behind it."""
        for number, group in enumerate(self._template.groups):
            if isinstance(group.rule, Normalization) and group.rule.kind == "batch":
                for neuron in range(group.start, group.stop):
                    yield from self._of_batch_norm(neuron, group.rule.eps)
            elif isinstance(group.rule, Normalization) and group.rule.kind in ("layer", "rms"):
                sources = [b for b in self._template.blocks if b.target == number]
                first = self._template.groups[sources[0].source].start + sources[0].first_source
                rows = [self._row(first + channel) for channel in range(group.width)]
                if rows[0] and len({*map(len, rows)}) == 1:
                    yield self._moved(torch.tensor(rows), self._params[torch.tensor(rows)])
                    yield from self._of_norm(group, torch.tensor(rows), group.rule.kind == "layer")

    def _of_batch_norm(self, neuron: int, eps: float) -> Iterator[Tensor]:
        """Scale and shift in front of running statistics, which gain and bias take back."""
        source, gain = next((pair for pair in self._into[neuron] if pair[1] >= 0), (None, -1))
        statistics, bias = self._statistics[neuron], self._bias[neuron]
        if source is None or bias < 0 or len(statistics) < 2:
            return
        mean, variance = statistics[EdgeKind.MEAN], statistics[EdgeKind.VARIANCE]
        slope = self._params[gain] * (variance + eps).rsqrt()
        row, own = self._row(source), self._origin(source)
        move = self._moved(torch.tensor(row), self._params[row])
        move[gain] -= self._params[gain]
        move[bias] -= slope * mean
        yield move
        if self._bias[own] >= 0:
            shift = torch.zeros_like(self._params)
            shift[self._bias[own]], shift[bias] = 1, -slope
            yield shift

    def _of_norm(self, group: NodeGroup, rows: Tensor, is_centred: bool) -> Iterator[Tensor]:
        """`rows` of the norm's inputs, `[width, incoming]`."""
        neurons, width = range(group.start, group.stop), group.width
        gains = torch.stack([self._gain(neuron) for neuron in neurons])
        readers = [self._readers(neuron) for neuron in neurons]
        targets = sorted({target for own in readers for target, _ in own})
        columns = torch.tensor([[place for _, place in sorted(own)] for own in readers])
        centre = torch.eye(width, dtype=gains.dtype) - is_centred / width
        if is_centred:
            for column in rows.T:  # the same for all, which the norm takes away
                yield self._moved(column, torch.ones(width))
            for column in columns.T:
                yield self._moved(column, 1 / gains)
        for first in range(width):
            for second in range(first):
                turn = torch.zeros_like(centre)
                turn[first, second], turn[second, first] = 1, -1
                turn = centre @ turn @ centre
                move = self._moved(rows, turn @ self._params[rows])
                behind = -(self._params[columns].T * gains) @ turn / gains  # [targets, width]
                move.index_add_(0, columns.T.flatten(), behind.flatten())
                for target, change in zip(targets, behind, strict=True):
                    for neuron, own in zip(neurons, change.tolist(), strict=True):
                        if self._bias[neuron] >= 0 and self._bias[target] >= 0:
                            move[self._bias[target]] -= own * self._params[self._bias[neuron]]
                yield move

    def _gain(self, neuron: int) -> Tensor:
        places = [place for _, place in self._into[neuron] if place >= 0]
        return self._params[places[0]] if places else self._params.new_ones(())

    def _moved(self, places: Tensor, by: Tensor) -> Tensor:
        move = torch.zeros_like(self._params)
        return move.index_add_(0, places.flatten(), by.flatten().to(move.dtype))

    def _maps(self, rows: Sequence[list[int]], others: Sequence[list[int]]) -> Iterator[Tensor]:
        for first, mine in enumerate(rows):
            for second, like in enumerate(rows):
                if not mine or len(mine) != len(like) or len(others[first]) != len(others[second]):
                    continue
                move = torch.zeros_like(self._params)
                move[mine] += self._params[like]
                self._subtract(move, others[second], others[first])
                yield move

    def _subtract(self, move: Tensor, places: list[int], like: list[int]) -> None:
        move.index_add_(0, torch.tensor(places, dtype=torch.long), -self._params[like])

    def _row(self, neuron: int) -> list[int]:
        """The parameters that come into a neuron, or into the one that it repeats."""
        neuron = self._origin(neuron)
        found = [place for _, place in sorted(self._into[neuron]) if place >= 0]
        return found + [self._bias[neuron]] * (self._bias[neuron] >= 0)

    def _column(self, neuron: int) -> list[int]:
        """The parameters on the edges out of a neuron, or of those that repeat it."""
        return [place for _, place in sorted(self._readers(neuron))]

    def _origin(self, neuron: int) -> int:
        while self._repeats(neuron):
            neuron = self._into[neuron][0][0]
        return neuron

    def _repeats(self, neuron: int) -> bool:
        """Whether a neuron does nothing but repeat another."""
        sources = self._into[neuron]
        is_one = len(sources) == 1 and sources[0][1] < 0 and self._bias[neuron] < 0
        return is_one and self._is_linear(self._group[neuron])

    def _readers(self, neuron: int) -> list[tuple[int, int]]:
        """Those that read a neuron by parameters, through neurons that repeat it, and these."""
        found = []
        for target, place in self._out_of[neuron]:
            if place >= 0:
                found.append((target, place))
            elif self._repeats(target) or isinstance(self._group[target].rule, Pairing):
                found += self._readers(target)
        return found

    @staticmethod
    def _is_linear(group: NodeGroup) -> bool:
        return group.rule == Sum() and group.activation.name == "none" and not group.offset
