"""Every number of every config is checked before anything begins, and all faults are named."""

import math
from collections.abc import Iterator

import hydra
import pytest
from omegaconf import DictConfig, OmegaConf, open_dict
from support.checks import check_config
from support.launch import EXPERIMENTS

from nn_graphs.configs import CONFIGS
from nn_graphs.errors import NNGraphsError

TASKS = sorted(folder.parent.name for folder in EXPERIMENTS.glob("*/main.py"))
ELSEWHERE = {
    "trainer.devices",  # as Lightning takes it: a number, a list, "auto"
    *("dataset.side", "dataset.channels", "dataset.num_classes"),  # named at the architecture
}


def composed(task: str) -> DictConfig:
    with hydra.initialize_config_dir(str(CONFIGS), version_base=None):
        return hydra.compose(task, ["results=results.csv"])


def numbers(node: dict, path: str = "") -> Iterator[str]:
    for key, value in node.items():
        own = f"{path}.{key}".lstrip(".")
        if isinstance(value, dict):
            yield from numbers(value, own)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield own


@pytest.mark.parametrize("wrong", [-3, math.nan, "nonsense", []], ids=str)
@pytest.mark.parametrize("task", TASKS)
def test_all_numbers_that_make_no_sense_are_named_at_once(task, wrong):
    config = composed(task)
    plain = OmegaConf.to_container(config, resolve=True)
    paths = set(numbers(plain)) - ELSEWHERE
    with open_dict(config):
        for path in paths:
            OmegaConf.update(config, path, wrong)
    with pytest.raises(NNGraphsError) as caught:
        check_config(config)
    named = [line.strip().partition(":")[0] for line in caught.value.found.splitlines()[1:]]
    assert paths <= set(named)
