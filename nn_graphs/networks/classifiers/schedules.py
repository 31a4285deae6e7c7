"""Learning rates over epochs, as factors of the first one."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nn_graphs.errors import check_known
from nn_graphs.ranges import NonNegative, in_ranges

KINDS = ("constant", "cosine", "steps")


@in_ranges
@dataclass(frozen=True)
class Schedule:
    """By what the learning rate is multiplied in an epoch.

    Attributes:
        kind: "constant"; "cosine": (1 + cos(pi e / E)) / 2 in epoch e of E, from 0 on (Loshchilov &
            Hutter, ICLR 2017, without restarts); "steps": a factor at some epochs.
        epochs: with "steps", when.
        factor: with "steps", by what.
    """

    kind: str = "constant"
    epochs: Sequence[int] = ()
    factor: NonNegative = 0.1

    def __post_init__(self):
        object.__setattr__(self, "epochs", tuple(self.epochs))  # configs give lists
        check_known(self.kind, KINDS, asked=f"follow the schedule {self.kind!r}")

    def at(self, epoch: int, num_epochs: int) -> float:
        """The factor in an epoch, counted from 0."""
        if self.kind == "cosine":
            return (1 + math.cos(math.pi * epoch / num_epochs)) / 2
        if self.kind == "steps":
            return self.factor ** sum(epoch >= start for start in self.epochs)
        return 1.0
