"""Values as nodes: which node each element of a value is, while a network's steps are followed."""

from dataclasses import dataclass

import numpy as np
import torch

from nn_graphs.graphs.parts.steps import Reshape, Step


@dataclass(frozen=True, eq=False)
class UnitValue:
    """A value of one layer of nodes.

    Attributes:
        ids: the node of every element, in the shape of the value; -1 where there is a zero.
        channels: of every element, in the same shape.
        layer: the number of the nodes' layer.
    """

    ids: np.ndarray
    channels: np.ndarray
    layer: int

    @classmethod
    def of_layer(cls, ids: np.ndarray, axis: int, width: int, layer: int) -> "UnitValue":
        """A value whose channels lie on an axis; of a single channel, on none."""
        channels = np.zeros((1,) * ids.ndim, dtype=np.int32)
        if width > 1:
            channels = np.arange(width, dtype=np.int32).reshape(-1, *(1,) * (-1 - axis))
        return cls(ids, np.broadcast_to(channels, ids.shape), layer)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ids.shape

    def moved(self, step: Step | Reshape) -> "UnitValue":
        """Behind a step that only moves elements; what it fills in are zeros."""
        ids, channels = (_moved(step, array) for array in (self.ids, self.channels))
        return UnitValue(ids, channels, self.layer)

    def chosen(self, first: int, count: int) -> "UnitValue":
        """The channels `first ... first + count - 1`."""
        is_other = (self.channels < first) | (self.channels >= first + count)
        is_out = is_other & (self.channels >= 0)
        if not is_out.any():
            return self
        index = np.ix_(*(self._kept(axis, is_out) for axis in range(is_out.ndim)))
        return UnitValue(self.ids[index], self.channels[index], self.layer)

    def _kept(self, axis: int, is_out: np.ndarray) -> np.ndarray:
        """What stays of an axis: all but what other channels alone have, zeros beside."""
        others = tuple(n for n in range(is_out.ndim) if n != axis)
        is_zero = self.channels < 0
        return np.nonzero(~(is_out | is_zero).all(others) | is_zero.all(others))[0]


def _moved(step: Step | Reshape, array: np.ndarray) -> np.ndarray:
    """Numbers of nodes are whole, which doubles hold exactly; 0 stands for none."""
    given = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64) + 1)
    return step(given).numpy().astype(array.dtype) - array.dtype.type(1)
