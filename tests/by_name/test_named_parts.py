"""Zoos, tasks, encoders and trainings by name are those that the command line takes."""

import pytest
import torch

import nn_graphs
from nn_graphs.by_name.cards import card_of
from nn_graphs.by_name.composing import compose, names_in
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import TrainingSettings, train_and_test
from tests.conftest import TINY_RECIPE


@pytest.fixture
def here(tiny_zoo_path) -> list[str]:
    """The options by which the zoo `digits` is the tiny one."""
    recipe = [
        f"zoo.recipe.{name}={list(value) if isinstance(value, tuple) else value}".replace(" ", "")
        for name, value in vars(TINY_RECIPE).items()
        if value is not None
    ]
    return [f"zoo.path={tiny_zoo_path}", *recipe]


def test_every_zoo_has_a_name_and_only_own_ones_are_left_out():
    assert set(names_in("zoo")) - set(nn_graphs.list_zoos()) == {"file", "folder"}
    assert set(nn_graphs.list_zoos()) < set(names_in("zoo"))
    assert {"ng_gnn", "ng_t", "vgae/ea_tc_lf"} < set(nn_graphs.list_encoders())
    assert {"digits/inr_classification", "wild_park/cnn_generalization"} < set(
        nn_graphs.list_tasks()
    )


def test_from_names_to_a_score(here, tmp_path, one_thread):
    zoo = nn_graphs.get_zoo("digits", *here)
    assert len(zoo) == 64
    task = nn_graphs.get_task("digits/inr_classification", *here, "num_train=7")
    assert isinstance(task, INRClassification)
    assert len(task.dataset("train")) == 7
    model = nn_graphs.get_encoder("ng_gnn_small", task, "encoder.model.encoder.num_probes=8")
    again = nn_graphs.get_encoder("ng_gnn_small", task, "encoder.model.encoder.num_probes=8")
    assert all(map(torch.equal, model.parameters(), again.parameters()))
    score = nn_graphs.evaluate(model, task)
    short = nn_graphs.get_training("short", "trainer.num_epochs=1")
    found = train_and_test(
        model, nn_graphs.get_task("digits/inr_classification", *here), short, tmp_path
    )
    assert set(found.test) == set(score.metrics)
    assert (score.task, score.metric, score.num_networks) == ("inr_classification", "accuracy", 8)
    assert score.interval[0] <= score.value <= score.interval[1]


def test_the_root_is_where_zoos_are(tmp_path, raises_saying):
    found = f"its files are not in {tmp_path / 'mnist_inrs'}"
    with raises_saying(asked="'mnist_published'", found=found, do="Licence: not stated"):
        nn_graphs.get_zoo("mnist_published", root=tmp_path)
    with raises_saying(asked="'wild_park'", found=str(tmp_path), do="fetch('cnn_wild_park'"):
        nn_graphs.get_task("wild_park/cnn_generalization", root=tmp_path)
    for name in nn_graphs.list_zoos():
        card = card_of(name)
        if card.download is not None:
            source = compose(card.tasks[0], f"zoo={name}").zoo.source
            assert f"${{data_root}}/{card.download}" in str(source)


def test_trainings_are_settings():
    settings = nn_graphs.get_training("budget", "trainer.num_epochs=3", seed=5)
    assert isinstance(settings, TrainingSettings)
    assert (settings.num_epochs, settings.max_cpu_minutes, settings.seed) == (3, 4.0, 5)


def test_the_nearest_name_is_said(raises_saying, here):
    with raises_saying(asked="open the zoo", found="no 'mnist_10', but 'mnist_10k'", do="digits"):
        nn_graphs.get_zoo("mnist_10")
    with raises_saying(asked="make the task", found="but 'digits/style_editing'", do="rl_policies"):
        nn_graphs.get_task("digits/style_edit")
    task = nn_graphs.get_task("digits/inr_classification", *here)
    with raises_saying(asked="make the encoder", found="but 'ng_gnn'", do="statnn"):
        nn_graphs.get_encoder("ng_gn", task)
    with raises_saying(asked="'boosted_trees'", found="fitted as a whole", do="fit_and_test_trees"):
        nn_graphs.get_encoder("boosted_trees", task)
    with raises_saying(asked="train by", found="but 'budget'", do="published"):
        nn_graphs.get_training("budge")
    with raises_saying(asked="encoder.model.no=1", found="Could not override", do="command line"):
        nn_graphs.get_encoder("ng_gnn", task, "encoder.model.no=1")
