"""How the weights of an update are learned, as one frozen object that configs can describe."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from nn_graphs.errors import check_known
from nn_graphs.ranges import Count, NonNegative, PositiveFloat, PositiveInt, Seed, in_ranges

Schedule = Literal["constant", "cosine"]


@in_ranges
@dataclass(frozen=True)
class MetaSettings:
    """How the weights of an update are learned.

    Attributes:
        num_outer_steps: meta-gradients; tasks take turns.
        num_runs: inner runs of each task at once; of evolution strategies, pairs of them.
        learning_rate, weight_decay: of AdamW.
        schedule: of the rate: "constant", or "cosine", half a wave down to 0.
        warmup_steps: over which the rate grows at the beginning.
        gradient_clip: largest norm of a meta-gradient; 0: no limit.
        val_every: outer steps between two validations.
        num_val_runs, num_val_steps: networks of each validation task, and how long they train.
        max_cpu_minutes: training stops at the validation after these, in time of the processor;
            None: never.
        seed: of first weights, inner runs and perturbations.
    """

    num_outer_steps: PositiveInt = 1000
    num_runs: PositiveInt = 8
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegative = 0.0
    schedule: Schedule = "cosine"
    warmup_steps: Count = 50
    gradient_clip: NonNegative = 1.0
    val_every: PositiveInt = 50
    num_val_runs: PositiveInt = 4
    num_val_steps: PositiveInt = 200
    max_cpu_minutes: NonNegative | None = None
    seed: Seed = 0

    def __post_init__(self):
        check_known(self.schedule, get_args(Schedule), asked="learn an update")

    def rate(self, step: int) -> float:
        """The learning rate of an outer step, from 0."""
        rate = self.learning_rate * min((step + 1) / max(self.warmup_steps, 1), 1.0)
        if self.schedule == "constant":
            return rate
        return rate * (1 + math.cos(math.pi * step / self.num_outer_steps)) / 2
