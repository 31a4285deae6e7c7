"""Connectomes as neural graphs, and through encoders that were made for other networks."""

import numpy as np
import pytest
import torch

from nn_graphs.datasets import data_root
from nn_graphs.encoders import VGAE, GraphDims, StructureEncoder, WeightStatistics
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.positional import LaplacianEncoding
from nn_graphs.structure import connectome_names, read_connectome
from nn_graphs.structure.connectomes import Connectome
from nn_graphs.structure_performance import (
    connectome_graph,
    embed_graphs,
    order_along,
    weight_scale,
)
from tests.structure_performance.trajectories import CNN, FLAT

ARCS = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]], dtype=bool)  # a circle
COUNTS = np.where(ARCS, 1.0, 0.0) * np.array([[1], [3], [7], [1]])
WORM = Connectome("worm", ARCS, weights=COUNTS)
PLAIN = Connectome("plain", ARCS)


def random_connectome(num_nodes: int, *, seed: int) -> Connectome:
    random = np.random.default_rng(seed)
    adjacency = random.random((num_nodes, num_nodes)) < 0.2
    np.fill_diagonal(adjacency, False)
    return Connectome(
        f"random {seed}", adjacency, weights=adjacency * random.uniform(1, 9, adjacency.shape)
    )


def make_vgae(spec) -> VGAE:
    torch.manual_seed(0)
    templates = [template_from_spec(spec)]
    encoder = StructureEncoder(
        templates, dim=8, num_heads=2, encoding=LaplacianEncoding(3), has_neuron_features=False
    )
    return VGAE(encoder, GraphDims.of(templates), latent_dim=4)


def test_arcs_are_edges():
    graph = connectome_graph(WORM)
    assert graph.num_nodes == 4
    assert graph.edge_index.T.tolist() == [[0, 1], [1, 2], [2, 0], [3, 1]]
    logs = np.log2([2, 4, 8, 2])
    expected = logs / np.sqrt(np.square(logs).mean())
    np.testing.assert_allclose(graph.edge_features[:, 0], expected, rtol=1e-6)
    assert not graph.node_features.any()
    assert not graph.has_bias.any()


def test_weights_are_of_the_scale_asked_for():
    for connectome in (WORM, PLAIN):
        squares = connectome_graph(connectome, scale=0.3).edge_features.square()
        assert squares.mean().sqrt().item() == pytest.approx(0.3)
    assert (connectome_graph(PLAIN).edge_features == 1).all()


def test_weights_lie_in_the_middle_of_kernels():
    graph = connectome_graph(WORM, kernel_size=(3, 3))
    assert graph.edge_features.shape == (4, 9)
    np.testing.assert_array_equal(graph.edge_features[:, 4:5], connectome_graph(WORM).edge_features)
    assert graph.is_value.sum(0).tolist() == [0, 0, 0, 0, 4, 0, 0, 0, 0]
    assert graph.edge_features.count_nonzero() == 4


def test_no_arcs(raises_saying):
    empty = Connectome("none", np.zeros((3, 3), dtype=bool))
    with raises_saying(asked="'none'", found="none of its 3 nodes", do="out"):
        connectome_graph(empty)


@pytest.mark.parametrize("spec", [FLAT, CNN])
def test_encoders_of_networks_embed_them(spec):
    vgae = make_vgae(spec)
    size = GraphDims.of([template_from_spec(spec)]).kernel_size
    graphs = [
        connectome_graph(random_connectome(num_nodes, seed=num_nodes), kernel_size=size)
        for num_nodes in (5, 30)
    ]
    found = embed_graphs(vgae, graphs)
    assert found.shape == (2, 4)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 1e-4
    np.testing.assert_array_equal(embed_graphs(vgae, graphs[1:])[0], found[1])
    assert vgae.training  # as before


def test_a_connectome_is_embedded_by_its_structure_not_by_the_order_of_nodes():
    encoder = make_vgae(FLAT)
    encoder.encoder.encoding.is_equivariant = True
    connectome = random_connectome(20, seed=1)
    order = np.random.default_rng(0).permutation(20)
    moved = Connectome(
        "moved", connectome.adjacency[order][:, order], weights=connectome.weights[order][:, order]
    )
    rewired = random_connectome(20, seed=2)
    found = embed_graphs(encoder, [connectome_graph(each) for each in (connectome, moved, rewired)])
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    assert np.abs(found[2] - found[0]).max() > 1e-4


def test_the_scale_of_weights_is_that_of_the_training_networks():
    templates = [template_from_spec(FLAT)]
    params = 0.2 * torch.randn(500, FLAT.num_params, generator=torch.Generator().manual_seed(0))
    dims = GraphDims.of(templates)
    statistics = WeightStatistics.measure(dims, [(templates[0], params)])
    encoder = StructureEncoder(templates, statistics, dim=8, num_heads=2)
    assert weight_scale(VGAE(encoder, dims, statistics)) == pytest.approx(0.2, rel=0.05)
    assert weight_scale(make_vgae(FLAT)) == 1  # without statistics
    assert weight_scale(torch.nn.Linear(1, 1)) == 1


def test_series_in_order_and_not():
    noise = np.random.default_rng(0).normal(size=(8, 3))
    steps = np.arange(8.0)[:, None] * [1, -2, 3]
    assert order_along(steps + 0.01 * noise) == 1
    assert order_along(steps[[3, 7, 0, 4, 6, 2, 5, 1]]) < 0.5
    assert order_along(np.ones((8, 2))) == 0


@pytest.mark.data
def test_connectomes_of_the_archive():
    vgae = make_vgae(FLAT)
    names = [name for name in connectome_names(data_root()) if "larva" not in name]
    assert len(names) > 14
    graphs = [connectome_graph(read_connectome(name, data_root())) for name in names]
    assert np.isfinite(embed_graphs(vgae, graphs)).all()
