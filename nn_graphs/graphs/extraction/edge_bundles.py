"""Edges before they are listed: every array of a bundle broadcasts to its shape.

A bundle holds what its edges have in common, so that it takes the room of nodes and weights, not of
edges; its edges are counted by arithmetic, and written part by part.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from nn_graphs.graphs.extraction.axis_windows import Window

Slices = tuple[slice, ...]
COUNTED = 2**18  # weights that are looked at in one go, where edges may fall to a threshold


@dataclass(frozen=True, eq=False)
class EdgePart:
    """Some edges, `[num_edges]` each; `parameter` is -1 where an edge is constant."""

    source: np.ndarray
    target: np.ndarray
    parameter: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.source)

    def where(self, is_kept: np.ndarray) -> "EdgePart":
        found = (self.source, self.target, self.parameter, self.weight)
        return EdgePart(*(each[is_kept] for each in found))


@dataclass(frozen=True)
class WeightPlaces:
    """Where the weights of a block stand in the flat parameter vector: a step for every axis.

    Attributes:
        first: place of the first.
        group, out, into, position: steps from one group, channel out, channel in (of the group),
            and position of the kernel to the next.
    """

    first: int
    group: int
    out: int
    into: int
    position: int = 1

    def ids(self, slices: Slices, positions: np.ndarray | None = None) -> np.ndarray:
        """Places of the weights of groups, channels out and in, and of positions if named.

        With `positions` `[num_pairs, 1]`, those are an axis before the channels in.
        """
        steps = self.group, self.out, self.into, self.position
        parts = [n * step for n, step in zip(np.ogrid[slices], steps, strict=False)]
        if positions is not None:
            group, out, into = parts
            parts = [group[..., None], out[..., None], into, positions * self.position]
        last = self.first + sum(int(part.max(initial=0)) for part in parts)
        total = np.asarray(self.first, dtype=_id_dtype(last + 1))
        for part in parts:
            total = total + part.astype(total.dtype)
        return total


@dataclass(frozen=True, eq=False)
class EdgeBundle:
    """Edges from one layer of nodes to another.

    Attributes:
        source_layer, target_layer: numbers of the layers.
        argument: which argument of the target's kind they carry.
        parameter: the name of the weight, or None.
        first_parameter: its place in the flat parameter vector.
        kernel: the sizes of the weight's kernel.
    """

    source_layer: int
    target_layer: int
    argument: int = 0
    parameter: str | None = None
    first_parameter: int = 0
    kernel: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        raise NotImplementedError

    def num_edges(self, params: np.ndarray, threshold: float | int | None) -> int:
        """How many edges there are, and stay, by arithmetic."""
        raise NotImplementedError

    def part(self, slices: Slices, params: np.ndarray) -> EdgePart:
        """The edges at some places of the shape, those that stand for nothing among them."""
        raise NotImplementedError

    def is_cut_by(self, threshold: float | int | None) -> bool:
        """Whether edges may fall to a threshold."""
        return False

    def parts(
        self, params: np.ndarray, threshold: float | int | None, max_edges: int
    ) -> Iterator[EdgePart]:
        """All edges that stay, in order, at most so many at a time."""
        for slices in slices_of(self.shape, max_edges):
            found = self.part(slices, params)
            is_kept = found.source >= 0
            if self.is_cut_by(threshold):
                is_kept &= np.abs(found.weight) > threshold
            yield found if is_kept.all() else found.where(is_kept)


@dataclass(frozen=True, eq=False, kw_only=True)
class DenseEdges(EdgeBundle):
    """A linear map or a convolution: groups, channels out, pairs of places, channels in.

    Attributes:
        sources: `[groups, channels in, places]`, nodes; -1 where padding has put a zero.
        targets: `[groups, channels out, places]`, nodes.
        window: which places meet.
        weights: where the weights stand in the flat parameter vector.
    """

    sources: np.ndarray
    targets: np.ndarray
    window: Window
    weights: WeightPlaces

    @property
    def shape(self) -> tuple[int, ...]:
        groups, width = self.targets.shape[:2]
        return groups, width, len(self.window), self.sources.shape[1]

    def is_cut_by(self, threshold: float | int | None) -> bool:
        return threshold is not None

    def num_edges(self, params: np.ndarray, threshold: float | int | None) -> int:
        uses = self._uses()
        if threshold is None:
            return int(uses.sum()) * self.shape[1]
        groups, width, _, fan_in = self.shape
        total = 0
        for own in slices_of((groups, width, fan_in, self.window.num_positions), COUNTED):
            is_kept = np.abs(params[self.weights.ids(own)]) > threshold
            total += int((is_kept * uses[own[0], None, own[2], own[3]]).sum())
        return total

    def part(self, slices: Slices, params: np.ndarray) -> EdgePart:
        group, out, pair, into = slices
        inputs, outputs = self.window.inputs[pair], self.window.outputs[pair]
        source = np.take(self.sources[group, into], inputs, axis=2).transpose(0, 2, 1)[:, None]
        target = np.take(self.targets[group, out], outputs, axis=2)[..., None]
        ids = self.weights.ids((group, out, into), self.window.positions[pair][:, None])
        shape = np.broadcast_shapes(source.shape, target.shape, ids.shape)
        parameter = _flat(ids, shape)
        return EdgePart(_flat(source, shape), _flat(target, shape), parameter, params[parameter])

    def _uses(self) -> np.ndarray:
        """`[groups, channels in, positions]`: how many pairs of nodes each weight joins."""
        positions, count = self.window.positions, self.window.num_positions
        groups, width = self.sources.shape[:2]
        if self.sources.min(initial=0) >= 0:
            uses = np.bincount(positions, minlength=count)
            return np.broadcast_to(uses, (groups, width, count))
        is_there = self.sources[:, :, self.window.inputs] >= 0
        return np.stack([is_there[:, :, positions == n].sum(2) for n in range(count)], axis=2)


@dataclass(frozen=True, eq=False, kw_only=True)
class SingleEdges(EdgeBundle):
    """Edges one by one: of skips, gates, norms and pooling.

    Attributes:
        sources: nodes; -1 where a zero stands.
        targets: nodes.
        ids: places of the weights in the flat parameter vector, or None where they are constant.
        factors: what an edge multiplies by, beside its parameter.
    """

    sources: np.ndarray
    targets: np.ndarray
    ids: np.ndarray | None = None
    factors: np.ndarray | float = 1.0

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.sources.shape, self.targets.shape)

    def num_edges(self, params: np.ndarray, threshold: float | int | None) -> int:
        is_there = self.sources >= 0
        return int(np.count_nonzero(is_there)) * (math.prod(self.shape) // max(is_there.size, 1))

    def part(self, slices: Slices, params: np.ndarray) -> EdgePart:
        def cut(array: np.ndarray) -> np.ndarray:
            return _flat(np.broadcast_to(array, self.shape)[slices])

        source, target = cut(self.sources), cut(self.targets)
        weight = cut(np.asarray(self.factors, dtype=params.dtype))
        if self.ids is None:
            parameter = np.full(len(source), -1, dtype=_id_dtype(len(params)))
        else:
            parameter = cut(self.ids).astype(_id_dtype(len(params)))
            weight = weight * params[parameter]
        return EdgePart(source, target, parameter, weight)


@dataclass(frozen=True, eq=False, kw_only=True)
class KernelEdges(EdgeBundle):
    """One edge for a pair of channels, whatever the size of the kernel between them.

    Its weight is the kernel's only value, or else the root of its summed squares; its parameter is
    the kernel's first. It is cut where no value of the kernel is larger than the threshold.

    Attributes:
        sources: `[groups, 1, channels in]`, nodes.
        targets: `[groups, channels out, 1]`, nodes.
        weights: where the kernels stand in the flat parameter vector.
        num_values: of a kernel.
    """

    sources: np.ndarray
    targets: np.ndarray
    weights: WeightPlaces
    num_values: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.sources.shape, self.targets.shape)

    def is_cut_by(self, threshold: float | int | None) -> bool:
        return threshold is not None

    def num_edges(self, params: np.ndarray, threshold: float | int | None) -> int:
        if threshold is None:
            return math.prod(self.shape)
        slices = slices_of(self.shape, COUNTED)
        return sum(int((self._largest(s, params) > threshold).sum()) for s in slices)

    def part(self, slices: Slices, params: np.ndarray) -> EdgePart:
        ids = self.weights.ids(slices)
        squares = sum(params[ids + n] ** 2 for n in range(self.num_values))
        weight = params[ids] if self.num_values == 1 else np.sqrt(squares)
        source, target = (
            np.broadcast_to(each, self.shape)[slices] for each in (self.sources, self.targets)
        )
        return EdgePart(_flat(source), _flat(target), _flat(ids), _flat(weight))

    def parts(
        self, params: np.ndarray, threshold: float | int | None, max_edges: int
    ) -> Iterator[EdgePart]:
        for slices in slices_of(self.shape, max_edges):
            found = self.part(slices, params)
            if threshold is None:
                yield found
            else:
                yield found.where(self._largest(slices, params).reshape(-1) > threshold)

    def _largest(self, slices: Slices, params: np.ndarray) -> np.ndarray:
        """The largest absolute value of every kernel."""
        ids = self.weights.ids(slices)
        found = np.abs(params[ids])
        for n in range(1, self.num_values):
            np.maximum(found, np.abs(params[ids + n]), out=found)
        return found


def slices_of(shape: Sequence[int], max_size: int) -> Iterator[Slices]:
    """An array of this shape in parts of at most `max_size` elements, in order."""
    axis, rest = 0, math.prod(shape)
    while axis < len(shape) and rest > max_size:
        rest //= shape[axis]
        axis += 1
    if axis == 0:
        yield tuple(slice(0, size) for size in shape)
        return
    axis -= 1
    step = max(1, max_size // max(rest, 1))
    tail = tuple(slice(0, size) for size in shape[axis + 1 :])
    for front in product(*(range(size) for size in shape[:axis])):
        for first in range(0, shape[axis], step):
            ends = slice(first, min(first + step, shape[axis]))
            yield (*(slice(n, n + 1) for n in front), ends, *tail)


def _flat(array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
    whole = array if shape is None else np.broadcast_to(array, shape)
    return np.ascontiguousarray(whole).reshape(-1)


def _id_dtype(count: int) -> type:
    return np.int32 if count < 2**31 else np.int64
