"""A run of a task on a zoo: the configured model is trained, scored and recorded."""

from support.launch import Run

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.augmentations import Compose
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome, train_and_test


def train_and_record(run: Run, task: Task) -> Outcome:
    """Trains the run's encoder on a task, with its augmentation, and appends its result rows.

    Configs of encoders say how to make a module for a task (`model`), which the trainer trains, or,
    where there is no module, how to fit and test what they name (`fit_and_test`).
    """
    has_module = "model" in run.config.encoder
    outcome = _train(run, task) if has_module else _fit(run, task)
    run.record(outcome)
    return outcome


def _train(run: Run, task: Task) -> Outcome:
    config = run.config
    model = run.seeded(run.build(config.encoder.model), task)
    augmentation = Compose(run.build(config.augmentation).values())
    return train_and_test(
        model, task, run.build(config.trainer), run.folder, augmentation=augmentation
    )


def _fit(run: Run, task: Task) -> Outcome:
    config = run.config
    if config.augmentation:
        raise NNGraphsError(
            f"fit {config.encoder.name} to augmented networks",
            found="it sees every network once.",
            do="Choose augmentation=none.",
        )
    return run.build(config.encoder.fit_and_test)(task, run.folder)
