"""Both engines say that they compile until their first step is done, and run on one core."""

import pytest
import torch

from nn_graphs.networks import compiling
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.compiling import CompiledIfPossible
from nn_graphs.networks.fitting import fit_networks
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from tests.networks.classifiers.stacks import train

COMPILING = (0, {"step": "compiling"})


class Reports:
    """What a progress bar was told, and what was compiled in between."""

    def __init__(self):
        self.seen = []

    def advance(self, steps, figures=None):
        self.seen.append((steps, figures))


@pytest.fixture
def reports(monkeypatch):
    """Reports, with a compiler that compiles nothing and leaves a mark when it is called."""
    reports = Reports()

    def fake_compile(function, **options):
        def compiled(*args):
            reports.seen.append("step")
            return function(*args)

        return compiled

    monkeypatch.setattr(compiling.torch, "compile", fake_compile)
    return reports


def fit(**options):
    def loss_fn(params, data):
        return (params - data).square().mean(dim=1)

    return fit_networks(loss_fn, torch.ones(2, 3), torch.zeros(2, 3), num_steps=3, **options)


def test_the_first_call_alone_is_told(reports):
    function = CompiledIfPossible(lambda x: x + 1, reports)
    assert [function(1), function(2)] == [2, 3]
    assert reports.seen == [COMPILING, "step", (0, {}), "step"]


def test_fitting_says_that_it_compiles(reports):
    fit(progress=reports)
    assert reports.seen == [COMPILING, "step", (0, {}), *["step"] * 3]


def test_training_classifiers_says_that_it_compiles(reports):
    train([Recipe()], plan=Plan(num_epochs=1, batch_size=20), progress=reports)
    started, *first, last = reports.seen
    assert started == (0, None)
    assert first == [COMPILING, "step", (0, {}), "step"]
    assert last[0] == 1
    assert set(last[1]) == {"loss"}


def test_nothing_is_said_where_nothing_is_compiled(reports):
    fit(progress=reports, is_compiled=False)
    train([Recipe()], plan=Plan(1, 20, is_compiled=False), progress=reports)
    assert COMPILING not in reports.seen


def test_the_bar_of_a_zoo_in_the_making_says_so(reports, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NN_GRAPHS_PROGRESS", "1")
    recipe = INRRecipe(hidden_widths=(4,), num_steps=2, num_train=2, num_val=1, num_test=1)
    make_inr_zoo(recipe, tmp_path / "zoo.h5", num_workers=1)
    lines = capsys.readouterr().err.splitlines()
    [compiles] = [line for line in lines if "compiling" in line]
    assert "0/4" in compiles
    assert "PSNR" in lines[-1]
    assert "compiling" not in lines[-1]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_both_engines_run_on_one_core_and_give_the_others_back(monkeypatch):
    seen = []

    def loss_fn(params, data):
        seen.append(torch.get_num_threads())
        return (params - data).square().mean(dim=1)

    fit_networks(loss_fn, torch.ones(2, 3), torch.zeros(2, 3), num_steps=1, is_compiled=False)
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2

    class Watching:
        def advance(self, steps, figures=None):
            seen.append(torch.get_num_threads())
            if figures:
                raise KeyboardInterrupt

    seen.clear()
    with pytest.raises(KeyboardInterrupt):
        train([Recipe()], plan=Plan(1, 20, is_compiled=False), progress=Watching())
    assert seen == [1, 1]
    assert torch.get_num_threads() == 2
