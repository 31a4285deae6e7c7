"""Batches from a zoo: one architecture stacks, several become torch-geometric batches."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader as GeometricLoader

from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.zoos.batches import GraphDataset, check_finite, make_templates
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import mixed_zoo, separable_zoo

PLACES = [5, 0, 3, 0, 19]


def make_dataset(zoo: Zoo) -> GraphDataset:
    """Networks in an order of their own, each labelled with ten times its number."""
    indices = np.random.default_rng(1).permutation(len(zoo))[:20]
    labels = 10 * torch.from_numpy(indices)
    return GraphDataset(zoo, indices, labels=labels, templates=make_templates(zoo))


def assert_is_graph_of(graph, zoo: Zoo, templates, number: int) -> None:
    """`graph` is what the template gives for the network's module alone."""
    kind, row = zoo.table[["spec", "row"]].iloc[number]
    module = zoo.specs[kind].make_module()
    params = zoo.params[kind][row]
    module.load_state_dict(zoo.specs[kind].parameters.unflatten(params))
    expected = templates[kind](module)
    assert torch.equal(graph.node_features, expected.node_features)
    assert torch.equal(graph.edge_features, expected.edge_features)
    assert torch.equal(graph.edge_index, expected.edge_index)
    assert torch.equal(graph.layer_id, expected.layer_id)


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo])
def test_batch_holds_each_networks_own_graph_and_label(make_zoo):
    zoo = make_zoo()
    dataset = make_dataset(zoo)
    graphs, labels = dataset.batch(PLACES)
    assert isinstance(graphs, NeuralGraphStack if len(zoo.specs) == 1 else Batch)
    assert labels.tolist() == (10 * dataset.indices[PLACES]).tolist()
    assert graphs.num_graphs == len(PLACES)
    for place, number in enumerate(dataset.indices[PLACES]):
        assert_is_graph_of(graphs[place], zoo, dataset.templates, number)


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo])
def test_one_item_is_a_graph_with_its_label(make_zoo):
    zoo = make_zoo()
    dataset = make_dataset(zoo)
    assert len(dataset) == 20
    for place in (7, -1):
        graph, label = dataset[place]
        assert isinstance(graph, NeuralGraph)
        assert label == 10 * dataset.indices[place]
        assert_is_graph_of(graph, zoo, dataset.templates, dataset.indices[place])
    with pytest.raises(IndexError):
        dataset[20]
    assert len(list(dataset)) == 20


@pytest.mark.parametrize("make_zoo", [separable_zoo, mixed_zoo])
@pytest.mark.parametrize("loader", [DataLoader, GeometricLoader])
def test_loaders_read_every_network_once(make_zoo, loader):
    zoo = make_zoo()
    dataset = make_dataset(zoo)
    batches = list(loader(dataset, batch_size=8))
    assert [graphs.num_graphs for graphs, _ in batches] == [8, 8, 4]
    assert torch.equal(torch.cat([labels for _, labels in batches]), dataset.labels)
    graphs = [graph for graphs, _ in batches for graph in graphs.to_data_list()]
    for graph, number in zip(graphs, dataset.indices, strict=True):
        assert_is_graph_of(graph, zoo, dataset.templates, number)


def test_mixed_batch_has_both_architectures():
    graphs, _ = make_dataset(mixed_zoo()).batch(list(range(20)))
    assert len({graphs[place].num_nodes for place in range(20)}) == 2


def test_finite_zoos_pass():
    for zoo in (separable_zoo(), mixed_zoo()):
        check_finite(zoo)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_first_bad_network_is_named_by_its_number_in_the_table(raises_saying, value):
    zoo = mixed_zoo()
    bad = [int(np.flatnonzero(zoo.table["spec"] == kind)[3]) for kind in (0, 1)]
    for number in bad:
        kind, row = zoo.table[["spec", "row"]].iloc[number]
        zoo.params[kind][row, -1] = value
    found = f"2 have weights that are NaN or infinite, the first is number {min(bad)}."
    with raises_saying(asked="zoo of 80 networks", found=found, do="Zoo.select"):
        check_finite(zoo)
    check_finite(zoo.select([number for number in range(80) if number not in bad]))


def test_architecture_without_networks_is_finite():
    zoo = mixed_zoo()
    check_finite(zoo.select(np.flatnonzero(zoo.table["spec"] == 0)))
    empty = Zoo(zoo.specs, (zoo.params[0], torch.empty(0, zoo.specs[1].num_params)), zoo.table)
    check_finite(empty.select(np.flatnonzero(zoo.table["spec"] == 0)))
