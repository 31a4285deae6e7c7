"""The zoo that a config names."""

import numpy as np
import pandas as pd
import pytest
import torch
from support.zoos import at_steps

from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.zoos.zoo import Zoo


@pytest.fixture
def zoo() -> Zoo:
    spec = small_cnn_zoo_spec()
    table = pd.DataFrame({"run": [0, 0, 1, 1], "step": [0, 86, 0, 86]})
    return Zoo.single(spec, torch.arange(4.0)[:, None].expand(4, spec.num_params), table)


def test_some_checkpoints_alone(zoo):
    last = at_steps(zoo, [86])
    assert last.table["run"].tolist() == [0, 1]
    np.testing.assert_array_equal(last.take([0, 1])[:, 0], [1.0, 3.0])
    assert len(at_steps(zoo, [0, 86])) == 4


def test_checkpoints_that_are_not_there(zoo, raises_saying):
    with raises_saying(asked="[80]", found="[0, 86]", do="zoo.steps"):
        at_steps(zoo, [80])
