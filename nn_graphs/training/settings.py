"""How a model is trained, as one frozen object that configs can describe."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.ranges import (
    Count,
    NonNegative,
    PositiveFloat,
    PositiveInt,
    Probability,
    Seed,
    in_ranges,
)

Schedule = Literal["constant", "cosine"]


@in_ranges
@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained; the defaults are the published ones (Kofinas et al., 2024, app. E).

    Attributes:
        num_epochs: passes over the training split.
        batch_size: networks per step.
        chunk_size: networks per forward and backward pass of a step; their gradients add up to
            those of the batch. None: the whole batch on an accelerator; else, where the model tells
            its `values_per_graph`, as many as stay in the processor's cache.
        is_compiled: compile the training step of whole chunks (torch.compile), which takes a minute
            or so at the start; what is left over, and validation, run eagerly.
        learning_rate, weight_decay: of AdamW with amsgrad.
        warmup_steps: the learning rate grows linearly over these.
        schedule: what it does besides: "constant" (published), or "cosine", half a wave from its
            full value to 0 at the last step of the last epoch.
        ema_decay: an exponential moving average of the weights, with this decay per step, is what
            is validated, chosen and tested; None: the weights themselves.
        gradient_clip: largest norm of the gradient; 0: no limit.
        patience: epochs without a better val metric after which training stops; None: never.
        max_minutes: training stops after the epoch in which these have passed; None: never.
        max_cpu_minutes: the same in time of the processor, all threads together, which does not
            depend on what else the machine does.
        accelerator, devices, strategy, precision: as Lightning's Trainer takes them; with several
            devices, `batch_size` is that of each.
        has_wandb: log to Weights & Biases too (pip install wandb).
        has_one_view: an epoch takes one network of each `source_id`, another one each time, where
            a zoo has several (views: several INRs of an image); else it takes all.
        seed: of the order of networks and of dropout; initial values are drawn by the caller.
    """

    num_epochs: PositiveInt = 200
    batch_size: PositiveInt = 128
    chunk_size: PositiveInt | None = None
    is_compiled: bool = False
    learning_rate: NonNegative = 1e-3
    weight_decay: NonNegative = 5e-4
    warmup_steps: Count = 1000
    schedule: Schedule = "constant"
    ema_decay: Probability | None = None
    gradient_clip: NonNegative = 10.0
    patience: PositiveInt | None = None
    max_minutes: PositiveFloat | None = None
    max_cpu_minutes: PositiveFloat | None = None
    accelerator: str = "auto"
    devices: int | str = 1
    strategy: str = "auto"
    precision: str = "32-true"
    has_wandb: bool = False
    has_one_view: bool = False
    seed: Seed = 0

    def __post_init__(self):
        check_known(self.schedule, get_args(Schedule), asked="train a model")
        if self.precision.startswith("16"):
            raise NNGraphsError(
                f"train with precision={self.precision}",
                found="it needs scaled gradients, which do not add up over chunks.",
                do="Use bf16-mixed, or 32-true.",
            )

    def rate_factor(self, step: int, *, num_steps: int) -> float:
        """What the learning rate is multiplied by at a step, from 0, of `num_steps`."""
        warmup = min((step + 1) / max(self.warmup_steps, 1), 1.0)
        if self.schedule == "constant":
            return warmup
        return warmup * (1 + math.cos(math.pi * min(step / num_steps, 1.0))) / 2

    def make_optimizer(self, model: nn.Module) -> torch.optim.AdamW:
        """What changes the parameters of a model."""
        return torch.optim.AdamW(
            model.parameters(),
            lr=self.learning_rate,
            weight_decay=self.weight_decay,
            amsgrad=True,
        )
