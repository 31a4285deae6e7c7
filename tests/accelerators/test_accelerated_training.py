"""Both engines that fit stacks, chunks of a batch, single modules and whole runs on a device."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.graphs.augmentations import Compose, Rotation, WeightNoise
from nn_graphs.networks.classifiers.data import ImageAugmentation, LabelledData
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe, train_classifiers
from nn_graphs.networks.fitting import Adam, fit_networks
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training import TrainingSettings, accumulate_gradients, train_and_test
from nn_graphs.training.chunks import forward_in_chunks, supervised
from nn_graphs.zoos.makers.inr_zoos import INRRecipe, make_inr_zoo
from nn_graphs.zoos.makers.labelled_images import LabelledImages
from nn_graphs.zoos.makers.small_cnns import SmallCNNRecipe
from nn_graphs.zoos.makers.stacked_zoos import make_stacked_zoo
from tests.accelerators.both_places import SAME, assert_same_there, there
from tests.accelerators.lightning_device import STRATEGY, register_with_lightning
from tests.accelerators.pseudo_accelerator import NAME
from tests.encoders.cases import SMALL_GNN
from tests.networks.classifiers.stacks import SmallStack, make_data, make_stack
from tests.networks.test_fitting import loss_fn, make_problem
from tests.toy_zoos import mixed_zoo, separable_zoo
from tests.training.runs import SHORT
from tests.training.test_chunks import TEMPLATES, dropping_model, mixed_batch

CROSS_ENTROPY = supervised(nn.functional.cross_entropy)


def test_networks_are_fitted(device):
    params, targets = make_problem(3)
    rates = torch.logspace(-3, -1, 3, dtype=torch.float64)

    def fitted(params, targets):
        settings = {"num_steps": 8, "stop_loss": 0.2, "chunk_size": 2, "is_compiled": False}
        return fit_networks(loss_fn, params, targets, optimizer=Adam(rates), **settings)

    assert_same_there(fitted, device, params, targets)


def test_zoos_of_inrs_are_made(device, tmp_path):
    recipe = INRRecipe(
        hidden_widths=(4,), num_steps=3, num_train=3, num_val=1, num_test=1, learning_rate=5e-3
    )
    found = [
        make_inr_zoo(recipe, tmp_path / f"{place.type}.h5", device=place, is_compiled=False)
        for place in (torch.device("cpu"), device)
    ]
    torch.testing.assert_close(found[1].params[0], found[0].params[0], rtol=1e-4, atol=1e-5)


RECIPES = [
    Recipe(Optimizer("sgd", 0.05, momentum=0.9), seed=0, train_fraction=0.5),
    Recipe(Optimizer("adam", 0.01), seed=1, dropout=0.3, schedule="cosine"),
    Recipe(Optimizer("rmsprop", 0.003), seed=2),
]


def on(data: LabelledData, device: torch.device) -> LabelledData:
    moved = {name: there(value, device) for name, value in vars(data).items()}
    return dataclasses.replace(data, **moved)


def test_stacks_are_trained(device, tmp_path):
    """Draws are hashes of keys, so that dropout too is that of the CPU; states are gone on with."""
    plan = Plan(2, 8, checkpoint_steps=(3,), is_compiled=False, save_seconds=0.0)
    params, buffers = make_stack(len(RECIPES))
    found = []
    for place in (torch.device("cpu"), device):
        initial = params.to(place), buffers.to(place)
        state = tmp_path / f"{place.type}.state"
        args = SmallStack(), *initial, on(make_data(), place), RECIPES
        train_classifiers(*args, plan, state_file=state)
        kept = train_classifiers(*args, plan, state_file=state)[-1]
        assert kept.params.device.type == "cpu"
        found.append([kept.params, kept.buffers, *kept.scores])
    torch.testing.assert_close(found[1], found[0], **SAME)


def test_zoos_of_cnns_are_made(device, tmp_path):
    images = LabelledImages(num_train=64, num_test=32)
    settings = {"num_epochs": 1, "checkpoint_epochs": (1,), "batch_size": 32}
    recipe = SmallCNNRecipe(images, num_runs=4, padding=1, train_fractions=(1.0,), **settings)
    found = [
        make_stacked_zoo(recipe, tmp_path / f"{place.type}.h5", device=place, is_compiled=False)
        for place in (torch.device("cpu"), device)
    ]
    tolerance = 1e-4 if device.type == NAME else 1e-2  # a GPU rounds the factors of convolutions
    for here, moved in zip(*(zoo.params for zoo in found), strict=True):
        torch.testing.assert_close(moved, here, rtol=tolerance, atol=tolerance)


def test_modules_are_trained_alone(device):
    torch.manual_seed(0)
    images = torch.randn(24, 1, 8, 8)
    zero, one = torch.zeros(1), torch.ones(1)
    data = LabelledData(images, torch.arange(24) % 3, 16, zero, one)
    plan = Plan(
        1,
        8,
        augmentation=ImageAugmentation(1, has_flips=True),
        is_compiled=False,
        num_norm_inputs=8,
    )
    start = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)
    )
    found = []
    for place in (torch.device("cpu"), device):
        module = there(start, place)
        scores = train_module(module, on(data, place), Recipe(Optimizer("sgd", 0.01)), plan)
        assert {value.device.type for value in module.state_dict().values()} == {place.type}
        found.append([*scores, *(value.cpu() for value in module.state_dict().values())])
    tolerance = 1e-5 if device.type == NAME else 2e-2  # a GPU trains in mixed precision
    torch.testing.assert_close(found[1], found[0], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("is_mixed", "chunk_size"), [(False, 4), (True, 4), (False, None)])
def test_chunks_of_a_batch(device, is_mixed, chunk_size):
    """Gradients of chunks in the thread that asks for them, and outputs, with dropout."""
    torch.manual_seed(0)
    model = dropping_model("gnn", TEMPLATES if is_mixed else TEMPLATES[:1]).to(device)
    graphs = mixed_batch()
    if not is_mixed:
        graphs = TEMPLATES[0].stack(torch.randn(9, TEMPLATES[0].num_params).double())
    batch = there((graphs, torch.arange(9) % 2), device)
    options = {"chunk_size": chunk_size, "num_workers": 4}
    loss = accumulate_gradients(model, CROSS_ENTROPY, batch, **options)
    assert loss.device == device
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert {grad.device for grad in gradients} == {device}
    assert max(grad.abs().max().item() for grad in gradients) > 1e-4
    with torch.no_grad():
        outputs = forward_in_chunks(model.eval(), batch[0], **options)
        expected = forward_in_chunks(model.cpu(), graphs, **options)
    torch.testing.assert_close(outputs.cpu(), expected, **SAME)


def settings_on(device: torch.device, **changes) -> TrainingSettings:
    strategy = "auto"
    if device.type == NAME:
        register_with_lightning()
        strategy = STRATEGY
    return dataclasses.replace(SHORT, accelerator=device.type, strategy=strategy, **changes)


def make_model(task: INRClassification) -> GraphModel:
    torch.manual_seed(0)
    encoder = NGGNN(task.templates, task.statistics(), **SMALL_GNN | {"dropout": 0.2})
    options = {"node_dim": encoder.node_dim, "edge_dim": encoder.edge_dim}
    pooling = Pooling("cat", dims=task.dims, layer="last", **options)
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=[8], out_dim=task.out_dim))


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo])
def test_runs(device, tmp_path, make_zoo):
    """Training, a moving average, validation, the best checkpoint, a test, an encoder file."""
    task = INRClassification(make_zoo())
    augmentation = None
    if make_zoo is separable_zoo:
        augmentation = Compose([Rotation(max_degrees=10.0), WeightNoise(share=0.01)])
    settings = settings_on(device, num_epochs=1, ema_decay=0.5)
    outcome = train_and_test(make_model(task), task, settings, tmp_path, augmentation=augmentation)
    assert outcome.device.startswith(NAME) or device.type == "cuda"
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 1
    assert json.loads((tmp_path / "outcome.json").read_text())["test"] == outcome.test
    assert np.load(tmp_path / "test_outputs.npz")["outputs"].shape == (16, task.out_dim)


class Interrupted(INRClassification):
    """A task in whose `_left`-th training step something happens, once."""

    _left = 5

    def loss(self, outputs, labels):
        self._left -= 1
        if not self._left:
            raise KeyboardInterrupt
        return super().loss(outputs, labels)


def test_a_run_goes_on_on_another_device(device, tmp_path):
    task = Interrupted(separable_zoo())
    settings = settings_on(device, num_epochs=2)
    with pytest.raises(KeyboardInterrupt):
        train_and_test(make_model(task), task, settings, tmp_path)
    elsewhere = dataclasses.replace(settings, accelerator="cpu", strategy="auto")
    outcome = train_and_test(make_model(task), task, elsewhere, tmp_path)
    assert outcome.device.startswith("cpu")
    assert pd.read_csv(tmp_path / "metrics.csv")["epoch"].tolist() == [0, 1]
    assert task._left < 0
