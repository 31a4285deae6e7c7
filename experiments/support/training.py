"""A run of a task on a zoo: the configured model is trained, scored and recorded."""

from support.launch import Run

from nn_graphs.graphs.augmentations import Compose
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome, train_and_test


def train_and_record(run: Run, task: Task) -> Outcome:
    """Trains the run's encoder on a task, with its augmentation, and appends its result rows."""
    config = run.config
    model = run.seeded(run.build(config.encoder.model), task)
    augmentation = Compose(run.build(config.augmentation).values())
    outcome = train_and_test(
        model, task, run.build(config.trainer), run.folder, augmentation=augmentation
    )
    run.record(outcome)
    return outcome
