"""Features with factored second moments: the "small_fc_lopt" set of Metz et al. (2022).

Of a tensor with two axes or more, second moments are kept as their means over the largest axis and
over the second largest (Adafactor, Shazeer & Stern, 2018); of a vector as they are. Ties are
decided as for arrays [*kernel, in, out], in which the published features are computed: the later
axis is the larger one.

The published decays are learned along; here they stay where learning begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.learned_optimizers.tensor_features import (
    TIME_SCALES,
    State,
    averaged,
    flat,
    normed,
    with_times,
)

MOMENT_EPS, FACTOR_EPS, SCALE_EPS = 1e-6, 1e-8, 1e-9


@dataclass(frozen=True)
class FactoredFeatures:
    """28 features of gradients, moments and factors, and eleven of the step.

    Attributes:
        decays: of averages of gradients, and of the factors.
        square_decay: of the average of squares.
    """

    decays: Sequence[float] = (0.9, 0.99, 0.999)
    square_decay: float = 0.999

    num_states = 4  # averages of gradients and squares, rows, columns

    def __post_init__(self):
        object.__setattr__(self, "decays", tuple(self.decays))  # configs give lists

    @property
    def num_features(self) -> int:
        return 4 + 8 * len(self.decays) + len(TIME_SCALES)

    def start(self, values: Float[Tensor, "S *shape"]) -> State:
        count, shape = len(values), tuple(values.shape[1:])
        size = flat(values).shape[1]
        rows, columns = _factor_shapes(shape)
        return (
            values.new_zeros(count, size, len(self.decays)),
            values.new_zeros(count, size, 1),
            values.new_zeros(count, *rows, len(self.decays)),
            values.new_zeros(count, *columns, len(self.decays)),
        )

    def step(
        self,
        values: Float[Tensor, "S *shape"],
        gradients: Float[Tensor, "S *shape"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S size features"], State]:
        momenta, squares, rows, columns = state
        own = flat(gradients)
        momenta = averaged(momenta, own, self.decays)
        squares = averaged(squares, own.square(), (self.square_decay,))
        rows, columns = self._factors(gradients.square() + 1e-30, rows, columns)
        spread = _spread(rows, columns, gradients.shape)
        row, column, of_gradient, of_momentum = (part.reshape(momenta.shape) for part in spread)
        root = (squares + MOMENT_EPS).rsqrt()
        own = own.unsqueeze(2)
        features = [flat(values).unsqueeze(2), momenta, squares, momenta * root, root]
        features += [own * of_gradient, row, column]
        features += [(row + FACTOR_EPS).rsqrt(), (column + FACTOR_EPS).rsqrt()]
        features += [momenta * of_momentum]
        features = normed(torch.cat([own, *features], 2))
        return with_times(features, steps), (momenta, squares, rows, columns)

    def _factors(
        self, squares: Float[Tensor, "S *shape"], rows: Tensor, columns: Tensor
    ) -> tuple[Tensor, Tensor]:
        axes = largest_axes(tuple(squares.shape[1:]))
        if axes is None:
            return _lerped(rows, squares, self.decays), columns
        largest, second = axes
        return (
            _lerped(rows, squares.mean(1 + largest), self.decays),
            _lerped(columns, squares.mean(1 + second), self.decays),
        )


def largest_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The largest and the second largest axis of a weight [out, in, *kernel]; None of vectors."""
    if len(shape) < 2:
        return None
    order = [*range(2, len(shape)), 1, 0]  # where [*kernel, in, out] has them
    *_, second, largest = sorted(order, key=lambda axis: shape[axis])  # stable
    return largest, second


def _factor_shapes(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Of rows and columns; a vector has rows alone."""
    axes = largest_axes(shape)
    if axes is None:
        return shape, (0,)
    return tuple(
        tuple(size for axis, size in enumerate(shape) if axis != missing) for missing in axes
    )


def _lerped(before: Tensor, now: Tensor, decays: tuple[float, ...]) -> Tensor:
    return torch.lerp(now.unsqueeze(-1), before, before.new_tensor(decays))


def _spread(
    rows: Tensor, columns: Tensor, shape: torch.Size
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows, columns, and what gradients and averages are multiplied by, for every parameter.

    All are `[S, *shape, decays]`.
    """
    axes = largest_axes(tuple(shape[1:]))
    if axes is None:
        of_gradient = (rows + SCALE_EPS).clamp_min(SCALE_EPS).rsqrt()
        return rows, rows, of_gradient, (rows + MOMENT_EPS).rsqrt()
    largest, second = (1 + axis for axis in axes)
    full = (*shape, rows.shape[-1])
    row, column = rows.unsqueeze(largest), columns.unsqueeze(second)
    mean = row.mean(second, keepdim=True)
    scale = (row / (mean + SCALE_EPS)).clamp_min(SCALE_EPS).rsqrt()
    scale = scale * column.clamp_min(SCALE_EPS).rsqrt()
    return row.expand(full), column.expand(full), scale, scale
