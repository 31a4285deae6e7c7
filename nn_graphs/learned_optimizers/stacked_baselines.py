"""Optimizers designed by hand as updates of stacks: what learned ones are compared with.

Their weights are two numbers, learning rate and weight decay, a row for each network: a whole grid
of settings is one stack.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.tensor_features import State
from nn_graphs.learned_optimizers.update_rules import (
    Adafactor,
    Adam,
    Lion,
    Momentum,
    Muon,
    ScheduleFree,
    UpdateRule,
)

RateSchedule = Literal["constant", "cosine"]

RULES: dict[str, Callable[[], UpdateRule]] = {
    "sgd": lambda: Momentum(0.0),
    "momentum": Momentum,
    "adam": Adam,
    "adamw": Adam,
    "adafactor": Adafactor,
    "lion": Lion,
    "muon": Muon,
    "schedule_free": ScheduleFree,
}


@dataclass(frozen=True)
class HandDesigned:
    """An update by a rule, see `learned_update.Update`; its weights are rate and weight decay.

    Weight decay is taken off the parameters, times the rate, with every rule.

    Attributes:
        rule: how tensors move.
        schedule: of the rate: "constant", or "cosine", half a wave down to 0 at the horizon.
        horizon: steps of an inner run.
    """

    rule: UpdateRule
    schedule: RateSchedule = "constant"
    horizon: int = 1000

    num_weights = 2

    def __post_init__(self):
        check_known(self.schedule, get_args(RateSchedule), asked="move networks by a rule")

    def start(self, optimizee: Optimizee, params: Float[Tensor, "S P"]) -> State:
        return tuple(
            part for _, values in optimizee.tensors(params) for part in self.rule.start(values)
        )

    def step(
        self,
        weights: Float[Tensor, "R M"],
        optimizee: Optimizee,
        params: Float[Tensor, "S P"],
        gradients: Float[Tensor, "S P"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S P"], State]:
        weights = weights.to(params).expand(len(params), -1)
        steps = steps.to(params)
        rate, decay = weights[:, 0] * self._factor(steps), weights[:, 1]
        moved, remembered, size = [], [], self.rule.num_states
        tensors = zip(optimizee.tensors(params), optimizee.tensors(gradients), strict=True)
        for number, ((_, values), (_, own)) in enumerate(tensors):
            shape = (-1, *[1] * (values.ndim - 1))
            now, count = rate.reshape(shape), (steps + 1).reshape(shape)
            before = state[number * size : (number + 1) * size]
            change, after = self.rule.change(values, own, before, count, now)
            kept = values * (1 - now * decay.reshape(shape))
            moved.append((kept - change).reshape(len(params), -1))
            remembered += after
        return torch.cat(moved, 1), tuple(remembered)

    def judged(
        self, optimizee: Optimizee, params: Float[Tensor, "S P"], state: State
    ) -> Float[Tensor, "S P"]:
        size = self.rule.num_states
        parts = [
            self.rule.judged(values, state[number * size : (number + 1) * size])
            for number, (_, values) in enumerate(optimizee.tensors(params))
        ]
        return torch.cat([part.reshape(len(params), -1) for part in parts], 1)

    def _factor(self, steps: Float[Tensor, "S"]) -> Float[Tensor, "S"]:
        if self.schedule == "constant":
            return torch.ones_like(steps)
        return (1 + torch.cos(math.pi * (steps / self.horizon).clamp_max(1))) / 2


def hand_designed(
    name: str, *, schedule: RateSchedule = "constant", horizon: int = 1000
) -> HandDesigned:
    """The update of a name, one of `RULES`.

    Raises:
        NNGraphsError: there is no such rule.
    """
    check_known(name, RULES, asked=f"move networks by the rule {name!r}")
    return HandDesigned(RULES[name](), schedule, horizon)


def settings_row(
    rate: float, decay: float = 0.0, *, like: Tensor | None = None
) -> Float[Tensor, "1 2"]:
    """The weights of one setting.

    Raises:
        NNGraphsError: a number is negative.
    """
    if rate < 0 or decay < 0:
        raise NNGraphsError(
            "move networks by a rule",
            found=f"the learning rate is {rate}, the weight decay {decay}.",
            do="Give numbers of at least 0.",
        )
    return torch.tensor([[rate, decay]], dtype=torch.float32 if like is None else like.dtype)
