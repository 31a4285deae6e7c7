"""What every experiment on a zoo does: open it, make the task, train the encoder, record, report.

All of it is named by the config, so that a task, a recipe of a zoo or an encoder of your own needs
a config alone.
"""

from support.launch import Run
from support.report import report_outcome

from nn_graphs.by_name.configured_zoo import open_configured_zoo
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.augmentations import Compose, OfMixes
from nn_graphs.tasks.task import Task
from nn_graphs.training import Outcome, train_and_test


def predict(run: Run) -> None:
    """Runs the config's encoder on the task `target` of its zoo.

    Configs of encoders say how to make a module for a task (`model`), which the trainer trains, or,
    where there is no module, how to fit and test what they name (`fit_and_test`).
    """
    task: Task = run.build(run.config.target)(open_configured_zoo(run.config))
    outcome = train(run, task) if "model" in run.config.encoder else _fit(run, task)
    run.record(outcome)
    report_outcome(run, task, outcome)


def train(run: Run, task: Task) -> Outcome:
    """Trains the config's encoder, or goes on with that, in the run's folder."""
    config = run.config
    model = run.seeded(run.build(config.encoder.model), task)
    augmentation = Compose(run.build(config.augmentation).values())
    if config.augmentation and (mixed := task.dataset("train").mixed) is not None:
        augmentation = OfMixes(augmentation, mixed)
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
