"""The task: labels, splits that stay apart, statistics from training, one look at the test."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nn_graphs.datasets import load_images
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.tasks.task import Task
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import mixed_zoo, separable_zoo


def with_column(zoo: Zoo, **columns) -> Zoo:
    return Zoo(zoo.specs, zoo.params, zoo.table.assign(**columns), zoo.metadata)


def scaled(zoo: Zoo, numbers: np.ndarray, factor: float) -> Zoo:
    """The zoo with some networks' parameters multiplied."""
    params = tuple(values.clone() for values in zoo.params)
    for kind, row in zoo.table[["spec", "row"]].iloc[numbers].to_numpy():
        params[kind][row] *= factor
    return Zoo(zoo.specs, params, zoo.table, zoo.metadata)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_datasets_hold_their_split_with_the_labels_of_the_images(tiny_zoo, split):
    task = INRClassification(tiny_zoo)
    dataset = task.open_test() if split == "test" else task.dataset(split)
    rows = tiny_zoo.table[tiny_zoo.table["split"] == split]
    assert len(dataset) == {"train": 48, "val": 8, "test": 8}[split]
    graphs, labels = dataset.batch(list(range(len(dataset))))
    assert torch.equal(graphs.params, tiny_zoo.params[0][rows["row"].tolist()])
    assert labels.tolist() == load_images("digits").labels[rows["source_id"]].tolist()
    assert labels.dtype == torch.int64


def test_labels_that_are_names_are_classes_in_the_order_of_names():
    """Numbers in names count as numbers, and only those classes are there that occur."""
    zoo = separable_zoo()
    names = np.array(["cat", "net 10", "7", "net 2"], dtype=object)[np.arange(len(zoo)) % 4]
    task = INRClassification(with_column(zoo, label=names))
    assert task.class_names == ("7", "cat", "net 2", "net 10")
    assert task.labels()[:4].tolist() == [1, 3, 0, 2]
    assert (task.labels().dtype, task.out_dim) == (torch.int64, 4)
    numbers = np.where(zoo.table["label"], "12", "3").astype(object)
    assert INRClassification(with_column(zoo, label=numbers)).class_names == ("3", "12")


def test_figures_call_classes_by_the_names_of_the_labels(tiny_zoo):
    names = np.where(tiny_zoo.table["label"] > 4, "large", "small").astype(object)
    task = INRClassification(with_column(tiny_zoo, label=names))
    labels = task.labels()[tiny_zoo.indices("test")]
    figure = task.figures(F.one_hot(labels, 2).float(), labels, title="it")["confusion"]
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_yticklabels()] == ["large", "small"]


def test_a_label_that_would_make_a_billion_classes(raises_saying):
    zoo = separable_zoo()
    labels = zoo.table["label"].to_numpy(copy=True)
    labels[3] = 1_000_000_000
    with raises_saying(asked="numbers of their", found="holds 1000000000", do="that occur"):
        INRClassification(with_column(zoo, label=labels))


def test_test_split_is_opened_once(raises_saying, tiny_zoo):
    task = INRClassification(tiny_zoo)
    assert len(task.open_test()) == 8
    with raises_saying(asked="inr_classification on its test", found="before", do="on val"):
        task.open_test()
    assert len(INRClassification(tiny_zoo).open_test()) == 8


@pytest.mark.parametrize("split", ["test", "all"])
def test_only_train_and_val_are_for_training(raises_saying, tiny_zoo, split):
    task = INRClassification(tiny_zoo)
    dataset = getattr(Task.dataset, "__wrapped__", Task.dataset)  # without the type check
    with raises_saying(asked=f"{split!r} for training", found="train and val", do="open_test()"):
        dataset(task, split)
    assert len(task.open_test()) == 8


@pytest.mark.parametrize("column", ["run", "source_id"])
def test_one_run_or_image_in_two_splits(raises_saying, column):
    zoo = separable_zoo()
    values = np.arange(len(zoo))
    INRClassification(with_column(zoo, **{column: np.where(values < 48, 7, values)}))
    values[[3, 50]] = 7
    with raises_saying(
        asked="split the zoo for inr_classification",
        found=f"{column} 7 lies in 2 splits.",
        do="the same split",
    ):
        INRClassification(with_column(zoo, **{column: values}))


def test_networks_with_nan_are_named(raises_saying):
    zoo = separable_zoo()
    zoo.params[0][[9, 70], 2] = torch.nan
    with raises_saying(asked="80 networks", found="2 have weights", do="Zoo.select"):
        INRClassification(zoo)


@pytest.mark.parametrize("split", ["val", "test"])
def test_zoo_without_a_split(raises_saying, split):
    zoo = separable_zoo()
    rest = zoo.select(np.flatnonzero(zoo.table["split"] != split))
    with raises_saying(asked=repr(split), found="splits", do="Choose"):
        INRClassification(rest)


def test_zoo_without_labels(raises_saying):
    zoo = separable_zoo()
    bare = Zoo(zoo.specs, zoo.params, zoo.table.drop(columns="label"))
    with raises_saying(asked="classify the networks", found="split, run", do="column `label`"):
        INRClassification(bare)


@pytest.mark.parametrize("label", ["ibis", 0.5, -1])
def test_labels_that_are_no_class_numbers(raises_saying, label):
    zoo = separable_zoo()
    labels = zoo.table["label"].astype(object)
    labels[3] = label
    with raises_saying(asked="numbers of their", found=f"holds {label!r}", do="Column"):
        INRClassification(with_column(zoo, label=labels.to_numpy()))


def test_whole_numbers_that_are_stored_as_others():
    zoo = separable_zoo()
    expected = INRClassification(zoo).labels()
    for dtype in (np.float64, np.uint8, bool):
        found = INRClassification(with_column(zoo, label=zoo.table["label"].to_numpy(dtype)))
        assert torch.equal(found.labels(), expected)


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo])
def test_statistics_are_those_of_the_training_split_alone(make_zoo):
    zoo = make_zoo()
    before = INRClassification(zoo).statistics()
    is_train = (zoo.table["split"] == "train").to_numpy()
    others = INRClassification(scaled(zoo, np.flatnonzero(~is_train), 100)).statistics()
    for name, values in vars(before).items():
        assert torch.equal(getattr(others, name), values), name
    trained = INRClassification(scaled(zoo, np.flatnonzero(is_train), 2)).statistics()
    assert torch.allclose(trained.weight_std[1:], 2 * before.weight_std[1:])
    assert torch.allclose(trained.bias_mean[1:], 2 * before.bias_mean[1:], atol=1e-6)


def test_statistics_of_one_architecture_by_hand():
    zoo = separable_zoo()
    statistics = INRClassification(zoo).statistics()
    tensors = zoo.spec.parameters.unflatten(zoo.params[0][:48].double())
    for layer in (0, 1):
        weight, bias = (tensors[f"layers.{layer}.{kind}"] for kind in ("weight", "bias"))
        assert statistics.weight_mean[layer + 1].item() == pytest.approx(weight.mean().item())
        assert statistics.bias_std[layer + 1].item() == pytest.approx(
            bias.std(unbiased=False).item()
        )


def test_loss_and_metrics():
    task = INRClassification(separable_zoo())
    assert (task.out_dim, task.metric) == (2, "accuracy")
    outputs, labels = torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    loss = F.cross_entropy(outputs, labels)
    assert torch.equal(task.loss(outputs, labels), loss)
    metrics = {"accuracy": 50.0, "balanced_accuracy": 50.0, "loss": loss.item()}
    assert task.metrics(outputs, labels) == metrics


def test_classes_are_those_up_to_the_largest_number():
    zoo = separable_zoo()
    task = INRClassification(with_column(zoo, label=np.where(zoo.table["label"], 4, 1)))
    assert task.out_dim == 5
    assert task.class_names == ("0", "1", "2", "3", "4")
    assert set(task.labels().tolist()) == {1, 4}


def test_sizes_of_several_architectures():
    task = INRClassification(mixed_zoo())
    assert len(task.templates) == 2
    assert task.dims.num_hidden_layers == 2
    graphs, labels = task.dataset("train").batch([0, 1, 2, 3])
    assert graphs.num_graphs == 4
    assert labels.tolist() == [0, 1, 0, 1]


def test_figures_show_the_images_where_they_are(tiny_zoo, tmp_path):
    task = INRClassification(tiny_zoo)
    labels = task.labels()[tiny_zoo.indices("test")]
    outputs = torch.nn.functional.one_hot(labels, task.out_dim).float()
    figures = task.figures(outputs, labels, title="it")
    assert set(figures) == {"confusion", "renderings"}
    assert len(figures["renderings"].axes) == 2 * 8
    zoo = Zoo(tiny_zoo.specs, tiny_zoo.params, tiny_zoo.table)  # of images that nobody knows
    assert set(INRClassification(zoo).figures(outputs, labels, title="it")) == {"confusion"}
    recipe = {**tiny_zoo.metadata["recipe"], "dataset": "mnist"}
    zoo = Zoo(tiny_zoo.specs, tiny_zoo.params, tiny_zoo.table, {"recipe": recipe})
    elsewhere = INRClassification(zoo, data_root=tmp_path)
    assert set(elsewhere.figures(outputs, labels, title="it")) == {"confusion"}


def test_fingerprints_of_several_architectures_count_each_network():
    one, zoo = INRClassification(mixed_zoo()), mixed_zoo()
    number = np.flatnonzero(zoo.table["split"] == "val")[3]
    kind, row = zoo.table.loc[number, ["spec", "row"]]
    zoo.params[int(kind)][int(row), 2] += 1e-6
    other = INRClassification(zoo).fingerprints()
    assert {key for key, value in one.fingerprints().items() if other[key] != value} == {
        "networks of val"
    }
