"""Training of a model on a task with Lightning: the best epoch on val is scored on test, once.

A run lives in a folder: checkpoints, logs, and at the end `outcome.json`. Started again on the same
folder, an interrupted run goes on behind its last epoch and ends with the result that it would have
had; a finished one returns its outcome.
"""

from nn_graphs.training.chunks import accumulate_gradients
from nn_graphs.training.loading import EpochSampler, in_split_order
from nn_graphs.training.module import SupervisedModule
from nn_graphs.training.outcome import Outcome, forget_run
from nn_graphs.training.running import train_and_test
from nn_graphs.training.settings import TrainingSettings

__all__ = [
    "EpochSampler",
    "Outcome",
    "SupervisedModule",
    "TrainingSettings",
    "accumulate_gradients",
    "forget_run",
    "in_split_order",
    "train_and_test",
]
