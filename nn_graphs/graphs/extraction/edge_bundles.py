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


@dataclass(frozen=True, eq=False)
class DenseEdges(EdgeBundle):
    """A linear map or a convolution: groups, channels out, pairs of places, channels in.

    Attributes:
        sources: `[groups, channels in, places]`, nodes; -1 where padding has put a zero.
        targets: `[groups, channels out, places]`, nodes.
        window: which places meet.
        strides: of the weight, in the flat parameter vector, for a group, a channel out, a
            channel in and a position of the kernel.
        first_weight: the first weight's place in the flat parameter vector.
    """

    sources: np.ndarray = None
    targets: np.ndarray = None
    window: Window = None
    strides: tuple[int, int, int, int] = (0, 0, 0, 0)
    first_weight: int = 0

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
        total = 0
        for group in range(self.shape[0]):
            ids = self._weight_ids(group)
            is_kept = np.abs(params[ids]) > threshold  # [out, in, positions]
            total += int((is_kept.sum(0) * uses[group]).sum())
        return total

    def part(self, slices: Slices, params: np.ndarray) -> EdgePart:
        group, out, pair, into = slices
        inputs, outputs = self.window.inputs[pair], self.window.outputs[pair]
        positions = self.window.positions[pair]
        source = np.take(self.sources[group, into], inputs, axis=2).transpose(0, 2, 1)[:, None]
        target = np.take(self.targets[group, out], outputs, axis=2)[..., None]
        dtype = _id_dtype(len(params))
        own = np.ogrid[slices[:2] + slices[3:]]
        steps = [np.asarray(own[n] * self.strides[n], dtype=dtype) for n in range(3)]
        weights = (self.first_weight + steps[0] + steps[1] + steps[2])[:, :, None]
        ids = weights + (positions * self.strides[3]).astype(dtype)[:, None]
        shape = np.broadcast_shapes(source.shape, target.shape, ids.shape)
        parameter = _flat(ids, shape)
        return EdgePart(_flat(source, shape), _flat(target, shape), parameter, params[parameter])

    def _weight_ids(self, group: int) -> np.ndarray:
        """`[channels out, channels in, positions]` of one group."""
        sizes = self.shape[1], self.shape[3], self.window.num_positions
        own = np.ogrid[tuple(slice(size) for size in sizes)]
        first = self.first_weight + group * self.strides[0]
        return first + sum(n * s for n, s in zip(own, self.strides[1:], strict=True))

    def _uses(self) -> np.ndarray:
        """`[groups, channels in, positions]`: how many pairs of nodes each weight joins."""
        positions, count = self.window.positions, self.window.num_positions
        groups, width = self.sources.shape[:2]
        if self.sources.min(initial=0) >= 0:
            uses = np.bincount(positions, minlength=count)
            return np.broadcast_to(uses, (groups, width, count))
        is_there = self.sources[:, :, self.window.inputs] >= 0
        return np.stack([is_there[:, :, positions == n].sum(2) for n in range(count)], axis=2)


@dataclass(frozen=True, eq=False)
class SingleEdges(EdgeBundle):
    """Edges one by one: of skips, gates, norms and pooling.

    Attributes:
        sources: nodes; -1 where a zero stands.
        targets: nodes.
        ids: places of the weights in the flat parameter vector, or None where they are constant.
        factors: what an edge multiplies by, beside its parameter.
    """

    sources: np.ndarray = None
    targets: np.ndarray = None
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


@dataclass(frozen=True, eq=False)
class KernelEdges(EdgeBundle):
    """One edge for a pair of channels, whatever the size of the kernel between them.

    Its weight is the kernel's only value, or else the root of its summed squares; its parameter is
    the kernel's first. It is cut where no value of the kernel is larger than the threshold.

    Attributes:
        sources: `[groups, 1, channels in]`, nodes.
        targets: `[groups, channels out, 1]`, nodes.
        ids: `[groups, channels out, channels in]` or less, of each kernel's first value.
        num_values: of a kernel.
        step: from one of its values to the next.
    """

    sources: np.ndarray = None
    targets: np.ndarray = None
    ids: np.ndarray = None
    num_values: int = 1
    step: int = 1

    @property
    def shape(self) -> tuple[int, ...]:
        return np.broadcast_shapes(self.sources.shape, self.targets.shape)

    def is_cut_by(self, threshold: float | int | None) -> bool:
        return threshold is not None

    def num_edges(self, params: np.ndarray, threshold: float | int | None) -> int:
        if threshold is None:
            return math.prod(self.shape)
        slices = slices_of(self.shape, 2**18)
        return sum(int((self._largest(s, params) > threshold).sum()) for s in slices)

    def part(self, slices: Slices, params: np.ndarray) -> EdgePart:
        ids = np.broadcast_to(self.ids, self.shape)[slices]
        squares = sum(params[ids + n * self.step] ** 2 for n in range(self.num_values))
        weight = params[ids] if self.num_values == 1 else np.sqrt(squares)
        ends = (np.broadcast_to(each, self.shape)[slices] for each in (self.sources, self.targets))
        dtype = _id_dtype(len(params))
        return EdgePart(*map(_flat, ends), _flat(ids).astype(dtype), _flat(weight))

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
        ids = np.broadcast_to(self.ids, self.shape)[slices]
        found = np.abs(params[ids])
        for n in range(1, self.num_values):
            np.maximum(found, np.abs(params[ids + n * self.step]), out=found)
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
