"""Modules are trained on images that stay on the disk."""

import pytest
import torch
from torch import nn

from nn_graphs.datasets.streamed import ImageStream
from nn_graphs.networks.classifiers.data import ImageAugmentation, LabelledData
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.streams import StreamedData
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.optimizers import Optimizer
from tests.datasets.image_folders import make_folders

CPU = torch.device("cpu")


@pytest.fixture
def stream(tmp_path):
    make_folders(tmp_path / "pets")
    return ImageStream.open(tmp_path, "pets", side=7)


def test_loaders_change_nothing(stream):
    order = torch.tensor([[3, 0], [2, 1]])
    alone, two = (StreamedData(stream, CPU, number) for number in (0, 2))
    for one, other in (
        (data.training_batches(order, seed=1, epoch=2) for data in (alone, two)),
        (data.batches(torch.arange(8), 3) for data in (alone, two)),
    ):
        batches = list(zip(one, other, strict=True))
        assert batches
        for (inputs, labels), (same_inputs, same_labels) in batches:
            assert torch.equal(inputs, same_inputs)
            assert torch.equal(labels, same_labels)


def test_batches_are_what_was_asked_for(stream):
    data = StreamedData(stream, CPU)
    assert (data.num_train, data.num_all) == (4, 8)
    batches = list(data.batches(torch.tensor([7, 0, 5]), 2))
    assert [labels.tolist() for _, labels in batches] == [[1, 0], [0]]
    assert torch.equal(batches[0][0][1], stream[0][0])
    ((inputs, labels),) = data.training_batches(torch.tensor([[2, 1]]), seed=4, epoch=3)
    assert labels.tolist() == [1, 0]
    assert torch.equal(inputs[0], stream[2, 4, 3][0])


def test_a_module_is_trained_and_scored_as_on_data_in_memory(stream):
    """Where nothing is drawn, both ways of holding the data give the same module."""
    stream = ImageStream(stream.files, 7, 8)
    stream.crops = lambda image, side, generator: stream[0][0].numpy()  # the same for all
    streamed = StreamedData(stream, CPU)
    kept = LabelledData(
        torch.cat([stream[0][0].expand(4, -1, -1, -1), *(stream[i][0][None] for i in range(4, 8))]),
        torch.from_numpy(stream.files.labels),
        4,
        torch.zeros(1),
        torch.ones(1),
    )
    recipe = Recipe(Optimizer("sgd", 0.1, momentum=0.9, is_nesterov=True, weight_decay=0.0))
    plan = Plan(3, 2, is_compiled=False, augmentation=ImageAugmentation(1, True))
    modules, scores = [], []
    for data in (streamed, kept):
        torch.manual_seed(0)
        modules.append(nn.Sequential(nn.Flatten(), nn.Linear(3 * 7 * 7, 2)))
        scores.append(train_module(modules[-1], data, recipe, plan))
    torch.testing.assert_close(modules[0][1].weight, modules[1][1].weight)
    assert scores[0].test_accuracy == scores[1].test_accuracy
    torch.testing.assert_close(scores[0].test_loss, scores[1].test_loss)
