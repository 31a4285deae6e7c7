"""The zoo that a config names, and what its options leave of it."""

from pathlib import Path

from omegaconf import DictConfig

from nn_graphs.by_name.composing import build
from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.canonical_copies import canonical_zoo
from nn_graphs.zoos.readers.read_zoo import open_or_read_zoo
from nn_graphs.zoos.recipes import open_or_make_zoo
from nn_graphs.zoos.zoo import Zoo


def open_configured_zoo(config: DictConfig) -> Zoo:
    """The zoo at `zoo.path`, made from its recipe or read from files where it is missing.

    Of it, the checkpoints `zoo.steps`, the first `num_train` networks of the split train, and
    canonical copies of all of them (`canonical`).
    """
    zoo = _open_whole(config.zoo, Path(config.data_root))
    if config.zoo.get("steps") is not None:
        zoo = at_steps(zoo, list(config.zoo.steps))
    zoo = zoo.keep_first(config.num_train, split="train")
    return canonical_zoo(zoo, kinds=list(config.canonical))


def _open_whole(config: DictConfig, root: Path) -> Zoo:
    if "recipe" in config:
        return open_or_make_zoo(build(config.recipe), config.path, data_root=root)
    if "source" not in config:
        return Zoo.open(config.path)
    architecture = build(config.architecture) if "architecture" in config else None
    return open_or_read_zoo(build(config.source), config.path, architecture=architecture)


def at_steps(zoo: Zoo, steps: list[int]) -> Zoo:
    """The networks of some checkpoints alone: by the column `step`, of trajectories by `epoch`.

    Raises:
        NNGraphsError: there are none, or the zoo does not tell when its networks were.
    """
    column = next((name for name in ("step", "epoch") if name in zoo.table), None)
    if column is None:
        raise NNGraphsError(
            f"take the checkpoints {steps} of the zoo",
            found=f"its table has the columns {', '.join(zoo.table)}.",
            do="Leave zoo.steps at null, or add a column `step` or `epoch`.",
        )
    is_chosen = zoo.table[column].isin(steps)
    if not is_chosen.any():
        raise NNGraphsError(
            f"take the checkpoints {steps} of the zoo",
            found=f"it has those of {sorted(set(zoo.table[column]))} ({column}).",
            do="Choose zoo.steps among them, or null for all.",
        )
    return zoo.select(is_chosen.to_numpy().nonzero()[0])
