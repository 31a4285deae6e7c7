"""The cubic schedule, by hand-worked values, and a training run that follows it."""

from itertools import pairwise

import pytest

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning import GradualPruning, cubic_density, pruning_masks
from tests.networks.pruning.modules import batches, mlp, train


@pytest.mark.parametrize(
    ("step", "density"),
    [(0, 1.0), (10, 1.0), (60, 0.1 + 0.9 / 8), (85, 0.1 + 0.9 / 64), (110, 0.1), (500, 0.1)],
)
def test_the_curve(step, density):
    found = cubic_density(step, first_step=10, last_step=110, final=0.1)
    assert found == pytest.approx(density)


def test_a_run_ends_at_the_density():
    module, data = mlp(4, 20, 3), batches(4, 3)
    pruning = GradualPruning(module, final=0.1, first_step=5, last_step=25, every=10)
    reports, masks = {}, []
    for step in range(40):
        train(module, data, num_steps=1)
        if (report := pruning(step)) is not None:
            reports[step] = sum(report.num_left.values())
            masks.append({name: mask.clone() for name, mask in pruning_masks(module).items()})
    assert [*reports] == [5, 15, 25]
    assert list(reports.values()) == [140, round(140 * (0.1 + 0.9 / 8)), 14]
    for before, after in pairwise(masks):
        assert all((before[name] | ~after[name]).all() for name in before)


@pytest.mark.parametrize(
    "settings",
    [{"first_step": 9, "last_step": 9}, {"every": 0}, {"final": 1.2}, {"first_step": -1}],
)
def test_schedules_that_are_none(settings):
    with pytest.raises(NNGraphsError, match="no schedule"):
        GradualPruning(mlp(4, 5, 3), **{"final": 0.1, "first_step": 0, "last_step": 9, **settings})
