"""A number of every neuron or edge, of one architecture and of several."""

import numpy as np
import pytest
import torch

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.tasks.part_regression import PartRegression
from nn_graphs.training import train_and_test
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import mixed_zoo, separable_zoo
from tests.training.runs import change

pytestmark = pytest.mark.usefixtures("one_thread")
ZOOS = {"one": separable_zoo, "mixed": mixed_zoo}


def values_of(zoo: Zoo, part: str) -> list[torch.Tensor]:
    """A neuron's bias, an edge's weight; hidden ones alone have a number of neurons."""
    graphs = (zoo[number] for number in range(len(zoo)))
    if part == "edge":
        return [3 * graph.edge_attr[:, 0] - 1 for graph in graphs]
    return [torch.where(graph.has_bias, 5 + graph.x[:, 0], torch.nan) for graph in graphs]


def make_task(kind: str = "one", part: str = "neuron") -> PartRegression:
    zoo = ZOOS[kind]()
    return PartRegression(zoo, values=values_of(zoo, part), part=part)


def make_model(task: PartRegression) -> torch.nn.Module:
    torch.manual_seed(0)
    encoder = NGGNN(
        task.templates, task.statistics(), dim=16, num_layers=2, dropout=0.0, fourier_sigma=None
    )
    return task.make_model(encoder, pooling="mean", pooled_layer="all")


@pytest.mark.parametrize(("kind", "part"), [("one", "neuron"), ("mixed", "edge")])
def test_what_a_part_shows_is_learned(tmp_path, kind, part):
    task = make_task(kind, part)
    settings = change(num_epochs=12, learning_rate=0.03, batch_size=8)
    outcome = train_and_test(make_model(task), task, settings, tmp_path)
    assert outcome.test["r2"] > 0.9


@pytest.mark.parametrize("part", ["neuron", "edge"])
@pytest.mark.parametrize("kind", ZOOS)
def test_outputs_stand_where_labels_do(kind, part):
    """A model that shows what there is has no error, and parts without a number do not count."""
    task = make_task(kind, part)
    dataset = task.dataset("train")
    graphs, labels = dataset.batch([0, 9, 30, 5])

    def shown(graphs):
        seen = graphs.edge_features if part == "edge" else graphs.node_features
        values = 3 * seen[..., :1] - 1 if part == "edge" else 5 + seen[..., :1]
        return task.outputs_for(values.squeeze(-1)).unsqueeze(-1)

    outputs = task.outputs(shown, graphs)
    assert outputs.shape == labels.shape == (4, task.labels().shape[1])
    assert task.loss(outputs, labels) < 1e-10
    assert task.metrics(outputs, labels)["r2"] == pytest.approx(1)
    known = ~labels.isnan()
    assert torch.equal(known.any(1), torch.ones(4, dtype=torch.bool))
    changed = torch.where(known, outputs, outputs + 7)
    assert task.loss(changed, labels) < 1e-10
    assert set(task.figures(outputs, labels, title="parts")) == {"predictions"}


def test_a_mean_over_networks_whatever_the_number_of_parts():
    task = make_task()
    labels = torch.full((2, task.labels().shape[1]), torch.nan)
    labels[0, :4], labels[1, :1] = 0.0, 0.0
    errors = torch.tensor([[1.0], [3.0]])
    outputs = task.outputs_for(torch.zeros_like(labels)) + errors
    assert task.loss(outputs, labels).item() == pytest.approx((1 + 9) / 2)


@pytest.mark.parametrize(
    ("change_values", "found"),
    [
        (lambda values: values[:-1], "numbers of"),
        (lambda values: [values[0][:-1], *values[1:]], "network 0 has"),
        (lambda values: [values[0] * np.inf, *values[1:]], "1 networks have none, or an infinite"),
        (lambda values: [values[0] * np.nan, *values[1:]], "the first is number 0"),
        (lambda values: [value * 0 for value in values], "all of the training networks are 0"),
    ],
)
def test_bad_numbers(raises_saying, change_values, found):
    zoo = separable_zoo()
    with raises_saying(asked="a number of every edge", found=found, do=""):
        PartRegression(zoo, values=change_values(values_of(zoo, "edge")), part="edge")


def test_unknown_parts_and_encoders_without_vectors_of_parts(raises_saying):
    zoo = separable_zoo()
    with raises_saying(asked="every 'layer'", found="'layer'", do="neuron"):
        PartRegression(zoo, values=[], part="layer")
    with raises_saying(asked="every neuron", found="no vectors", do="encoder of graphs"):
        make_task().make_weight_space_model(torch.nn.Identity())
