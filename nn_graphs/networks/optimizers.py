"""Optimizers of a stack: each network may have its own kind and settings, all move in one formula.

With the gradient `g`, two moments `m` and `v` and coefficients per network:

    g = gradient + coupled * params          v = decay_2 * v + (1 - decay_2) * g^2
    r = sqrt(v / correction_2) + eps         m = decay_1 * m + fresh * (g or g / r)
    params = (1 - rate * decoupled) * params - rate * (now * g + then * m) / (1 or r)

SGD with momentum and Nesterov's form (Sutskever et al., ICML 2013), Adam (Kingma & Ba, ICLR 2015),
AdamW (Loshchilov & Hutter, ICLR 2019) and RMSprop are this with different coefficients, as
`torch.optim` computes them. Both engines move networks by it: that of classifiers, whose networks
have coefficients of their own, and that of INRs, where all share those of Adam.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.ranges import NonNegative, PositiveFloat, Probability, in_ranges

KINDS = ("sgd", "adam", "adamw", "rmsprop")


@in_ranges
@dataclass(frozen=True)
class Optimizer:
    """How one network is moved; defaults as in `torch.optim`, but for the learning rate.

    Attributes:
        kind: "sgd", "adam", "adamw" or "rmsprop".
        learning_rate: before the schedule.
        momentum: of SGD and RMSprop.
        is_nesterov: of SGD.
        betas: decays of the moments of Adam and AdamW.
        alpha: decay of the second moment of RMSprop.
        eps: added to the root of the second moment.
        weight_decay: added to the gradient, or with AdamW taken off the parameters; of all
            parameters, norms and biases too.
    """

    kind: str = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: Probability = 0.0
    is_nesterov: bool = False
    betas: tuple[float, float] = (0.9, 0.999)
    alpha: Probability = 0.99
    eps: PositiveFloat = 1e-8
    weight_decay: NonNegative = 0.0

    def __post_init__(self):
        check_known(self.kind, KINDS, asked=f"train with the optimizer {self.kind!r}")
        if self.is_nesterov and (self.kind != "sgd" or not self.momentum):
            raise NNGraphsError(
                "train with Nesterov momentum",
                found=f"the optimizer is {self.kind}, its momentum {self.momentum:g}.",
                do="Use it with SGD and a positive momentum.",
            )

    @property
    def is_adaptive(self) -> bool:
        """Whether it divides by the root of the second moment."""
        return self.kind != "sgd"


class Coefficients(NamedTuple):
    """The numbers in the formula above, per network or shared by all.

    See `make_coefficients` and `shared_coefficients`. Terms that a shared number takes out of the
    formula are not computed.
    """

    coupled: Float[Tensor, "S 1"] | float
    decoupled: Float[Tensor, "S 1"] | float
    decay_1: Float[Tensor, "S 1"] | float
    fresh: Float[Tensor, "S 1"] | float
    decay_2: Float[Tensor, "S 1"] | float
    eps: Float[Tensor, "S 1"] | float
    now: Float[Tensor, "S 1"] | float
    then: Float[Tensor, "S 1"] | float
    is_adam: Float[Tensor, "S 1"] | float
    is_rmsprop: Float[Tensor, "S 1"] | float


def make_coefficients(optimizers: Sequence[Optimizer], like: Tensor) -> Coefficients:
    """The coefficients of a stack, of the type and on the device of `like`."""
    columns = zip(*(_coefficients(optimizer) for optimizer in optimizers), strict=True)
    return Coefficients(*(like.new_tensor(column).unsqueeze(1) for column in columns))


def shared_coefficients(optimizer: Optimizer) -> Coefficients:
    """The coefficients of one optimizer for all networks of a stack, as numbers."""
    return Coefficients(*_coefficients(optimizer))


def make_update(is_adaptive: bool):
    """The update of a stack; without second moments where no network needs them.

    Returns:
        `(params, gradient, first, second, count, rate, coefficients) -> (params, first, second)`;
        `count [S, 1]` numbers the steps from 1 on, `rate [S, 1]` is the learning rate of now.
    """
    return _adaptive_update if is_adaptive else _plain_update


def _plain_update(
    params: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    count: Tensor,
    rate: Tensor,
    c: Coefficients,
) -> tuple[Tensor, Tensor, Tensor]:
    gradient = torch.addcmul(gradient, c.coupled, params)
    first = torch.addcmul(gradient, c.decay_1, first)  # `fresh` is 1
    move = torch.addcmul(c.now * gradient, c.then, first)
    return torch.addcmul(params, rate, move, value=-1), first, second


def _adaptive_update(
    params: Tensor,
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    count: Tensor,
    rate: Tensor,
    c: Coefficients,
) -> tuple[Tensor, Tensor, Tensor]:
    is_adam, is_rmsprop = c.is_adam > 0, c.is_rmsprop > 0
    gradient = _combined((1.0, gradient), (c.coupled, params))
    second = c.decay_2 * second + (1 - c.decay_2) * gradient * gradient
    correction_1 = _where(is_adam, 1 - c.decay_1**count, 1)
    correction_2 = _where(is_adam, 1 - c.decay_2**count, 1)
    root = (second / correction_2).sqrt() + c.eps
    gradient = gradient / _where(is_rmsprop, root, 1)
    first = c.decay_1 * first + c.fresh * gradient
    move = _combined((c.now, gradient), (c.then, first / correction_1))
    move = move / _where(is_adam, root, 1)
    kept = params if _is_number(c.decoupled, 0.0) else params * (1 - rate * c.decoupled)
    return kept - rate * move, first, second


def _combined(*terms: tuple[Tensor | float, Tensor]) -> Tensor:
    """The sum of factors times values, without terms whose factor is the number 0."""
    products = [
        values if _is_number(factor, 1.0) else factor * values
        for factor, values in terms
        if not _is_number(factor, 0.0)
    ]
    return sum(products[1:], start=products[0])


def _where(is_so: Tensor | bool, yes: Tensor | int, no: Tensor | int) -> Tensor | int:
    """`torch.where`, decided at once where the answer is the same for all networks."""
    if isinstance(is_so, bool):
        return yes if is_so else no
    return torch.where(is_so, yes, no)


def _is_number(factor: Tensor | float, number: float) -> bool:
    return isinstance(factor, float) and factor == number


def _coefficients(optimizer: Optimizer) -> tuple[float, ...]:
    """One row, in the order of `Coefficients`."""
    is_adam, is_rmsprop = optimizer.kind in ("adam", "adamw"), optimizer.kind == "rmsprop"
    is_decoupled = optimizer.kind == "adamw"
    decay_1 = optimizer.betas[0] if is_adam else optimizer.momentum
    decay_2 = optimizer.betas[1] if is_adam else optimizer.alpha if is_rmsprop else 0.0
    return (
        0.0 if is_decoupled else optimizer.weight_decay,
        optimizer.weight_decay if is_decoupled else 0.0,
        decay_1,
        1 - decay_1 if is_adam else 1.0,
        decay_2,
        optimizer.eps,
        1.0 if optimizer.is_nesterov else 0.0,
        optimizer.momentum if optimizer.is_nesterov else 1.0,
        float(is_adam),
        float(is_rmsprop),
    )
