"""The zoo that a config names: made from a recipe, or read from published files."""

from support.launch import Run

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.makers.opening import open_or_make_zoo
from nn_graphs.zoos.readers.reading import open_or_read_zoo
from nn_graphs.zoos.zoo import Zoo


def open_zoo(run: Run) -> Zoo:
    """The zoo at `zoo.path`, made or read first where it is missing."""
    config = run.config.zoo
    if "source" in config:
        architecture = run.build(config.architecture) if "architecture" in config else None
        return open_or_read_zoo(run.build(config.source), config.path, architecture=architecture)
    zoo = open_or_make_zoo(run.build(config.recipe), config.path, data_root=run.data_root)
    return zoo if config.get("steps") is None else at_steps(zoo, list(config.steps))


def at_steps(zoo: Zoo, steps: list[int]) -> Zoo:
    """The networks of some checkpoints alone.

    Raises:
        NNGraphsError: there are none.
    """
    is_chosen = zoo.table["step"].isin(steps)
    if not is_chosen.any():
        raise NNGraphsError(
            f"take the checkpoints {steps} of the zoo",
            found=f"it has those of {sorted(set(zoo.table['step']))}.",
            do="Choose zoo.steps among them, or null for all.",
        )
    return zoo.select(is_chosen.to_numpy().nonzero()[0])
