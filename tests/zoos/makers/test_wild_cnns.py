"""Architectures are drawn as the CNN Wild Park draws them."""

from collections import Counter

from nn_graphs.datasets import load_images
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.zoos.makers.wild_cnns import WildCNNRecipe

RUNS = WildCNNRecipe(num_architectures=1500).make_runs(load_images("digits"))


def test_published_choices():
    convs = [layer for spec in RUNS.specs for layer in spec.layers[:-1]]
    depths = Counter(len(spec.layers) - 1 for spec in RUNS.specs)
    assert set(depths) == {2, 3, 4, 5}
    assert min(depths.values()) > 250
    for found, values in (
        (Counter(layer.width for layer in convs), {4, 8, 16, 32}),
        (Counter(layer.conv.kernel_size for layer in convs), {(3, 3), (5, 5), (7, 7)}),
        (
            Counter(layer.activation.name for layer in convs),
            {"relu", "gelu", "tanh", "sigmoid", "leaky_relu"},
        ),
    ):
        assert set(found) == values
        assert min(found.values()) > 0.85 * len(convs) / len(values)
    assert all(layer.conv.stride == (1, 1) for layer in convs)
    assert all(2 * layer.conv.padding[0] + 1 == layer.conv.kernel_size[0] for layer in convs)


def test_residuals_come_from_before_the_layer_that_is_read():
    skips = {number: Counter() for number in range(1, 6)}
    for spec in RUNS.specs:
        for number, layer in enumerate(spec.layers[:-1], start=1):
            skips[number][layer.skips] += 1
    assert set(skips[1]) == set(skips[2]) == {()}
    assert set(skips[3]) == {(), (1,)}
    assert set(skips[5]) == {(), (1,), (2,), (3,)}
    assert min(skips[5].values()) > 0.7 * sum(skips[5].values()) / 4


def test_no_residuals_where_none_are_wanted():
    runs = WildCNNRecipe(num_architectures=50, has_residuals=False).make_runs(load_images("digits"))
    assert not any(layer.skips for spec in runs.specs for layer in spec.layers)


def test_training_and_checkpoints_as_published():
    recipe = WildCNNRecipe(num_epochs=25, checkpoint_every=10)
    assert recipe.epochs_kept == (10, 20)  # the last always is
    training = recipe.training(RUNS.table.iloc[0])
    assert training.optimizer == Optimizer("adamw", 1e-3)


def test_seeds_of_an_architecture_stay_together():
    recipe = WildCNNRecipe(num_architectures=40, num_seeds=3)
    runs = recipe.make_runs(load_images("digits"))
    assert len(runs.table) == 120
    assert (runs.table.groupby("spec")["split"].nunique() == 1).all()
    parts = runs.chunks(num_pixels=64, batch_size=32, chunk_size=None)
    assert len(parts) == len(runs.specs)
    params = recipe.initial_params(runs.specs[0], runs.table.loc[parts[0]])
    assert (params[0] != params[1]).all()
