"""The zoo that a config names: made from a recipe, or read from published files."""

from support.launch import Run

from nn_graphs.zoos.makers.inr import open_or_make_inr_zoo
from nn_graphs.zoos.readers.reading import open_or_read_zoo
from nn_graphs.zoos.zoo import Zoo


def open_zoo(run: Run) -> Zoo:
    """The zoo at `zoo.path`, made or read first where it is missing."""
    config = run.config.zoo
    if "source" in config:
        architecture = run.build(config.architecture) if "architecture" in config else None
        return open_or_read_zoo(run.build(config.source), config.path, architecture=architecture)
    recipe = run.build(config.recipe)
    return open_or_make_inr_zoo(recipe, config.path, data_root=run.data_root)
