"""Costs per network, against counts by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nn_graphs.encoders.features import InputSettings
from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.probe_gen import ProbeGen
from nn_graphs.encoders.probe_only import ProbeOnly
from nn_graphs.encoders.product_gnn import ProductGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.encoders.statnn import StatNN
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.training.network_costs import (
    access_class,
    multiply_adds,
    network_costs,
    query_multiply_adds,
)
from nn_graphs.zoos.zoo import SPLITS, Zoo
from tests.encoders.cases import SINE

SPEC = NetworkSpec.mlp((2, 5, 4, 3), activation=SINE)
TEMPLATE = template_from_spec(SPEC)
NEURONS, EDGES, PARAMS = 14, 10 + 20 + 12, 10 + 5 + 20 + 4 + 12 + 3
D, H, CLASSES, PROBES = 6, 7, 4, 9
HEAD = 3 * D * H + H * CLASSES  # outputs side by side, a hidden layer, classes


def make_task(num_views: int = 1) -> INRClassification:
    count = 12 * num_views
    params = torch.randn(count, SPEC.num_params, generator=torch.Generator().manual_seed(0))
    splits = np.repeat(SPLITS, [6 * num_views, 3 * num_views, 3 * num_views])
    table = pd.DataFrame({"label": np.arange(count) % CLASSES, "split": splits})
    if num_views > 1:
        table["source_id"] = np.arange(count) // num_views
    return INRClassification(Zoo.single(SPEC, params, table))


def with_head(encoder: nn.Module) -> GraphModel:
    dims = GraphDims.of([TEMPLATE])
    pooling = Pooling("cat", dims=dims, node_dim=D, edge_dim=encoder.edge_dim)
    return GraphModel(encoder, GraphHead(pooling, hidden_dims=[H], out_dim=CLASSES))


def product_gnn() -> GraphModel:
    return with_head(ProductGNN([TEMPLATE], dim=D, hidden_dim=H, num_layers=2))


def of_product_gnn() -> int:
    features = NEURONS * (D + D * D)
    update = NEURONS * (3 * D * H + H * D)
    layer = NEURONS * D * 2 * D + 2 * EDGES * D + update
    return features + 2 * layer + HEAD


def scalegmn() -> GraphModel:
    return with_head(ScaleGMN([TEMPLATE], dim=D, hidden_dim=H, num_layers=2))


def of_scalegmn() -> int:
    update = NEURONS * (3 * D * D + 3 * D * H + H * D)
    layer = NEURONS * D * 2 * D + 2 * EDGES * D + update
    return NEURONS * D + 2 * layer + NEURONS * (D * H + H * D) + HEAD


def ng_gnn() -> GraphModel:
    return with_head(NGGNN([TEMPLATE], dim=D, num_layers=2, fourier_sigma=None))


def of_ng_gnn() -> int:
    """Edges of both directions begin with own vectors; the last layer is into outputs."""
    features = NEURONS * (D + D * D) + 2 * EDGES * D
    last_edges = 12
    messages = NEURONS * 2 * D * D
    update = NEURONS * (9 * D * D + D * D)
    edge_update = NEURONS * 2 * D * D + last_edges * D * D
    modulation = (2 * EDGES + last_edges) * 2 * D * D
    return features + 2 * (messages + update) + edge_update + modulation + HEAD


MODELS = {
    "flat_mlp": (
        lambda: FlatMLP(TEMPLATE, hidden_dims=[H], out_dim=CLASSES),
        lambda: PARAMS * H + H * CLASSES,
    ),
    "statnn": (
        lambda: StatNN(
            [TEMPLATE],
            [TEMPLATE.stack(torch.randn(8, TEMPLATE.num_params))],
            hidden_dims=[H],
            dropout=0.0,
            out_dim=CLASSES,
        ),
        lambda: 6 * 7 * H + H * CLASSES,
    ),
    "probe_only": (
        lambda: ProbeOnly([TEMPLATE], num_probes=PROBES, hidden_dims=[H], out_dim=CLASSES),
        lambda: PROBES * 3 * H + H * CLASSES,
    ),
    "probe_gen": (
        lambda: ProbeGen([TEMPLATE], num_probes=PROBES, hidden_dims=[H], out_dim=CLASSES),
        lambda: PROBES * 3 * H + H * CLASSES,
    ),
    "product_gnn": (product_gnn, of_product_gnn),
    "scalegmn": (scalegmn, of_scalegmn),
    "ng_gnn": (ng_gnn, of_ng_gnn),
}


@pytest.mark.parametrize("name", MODELS)
def test_counts_by_hand(name):
    make, by_hand = MODELS[name]
    model = make()
    costs = network_costs(model, make_task())
    assert costs.encoder_madds == by_hand()
    is_probe = name.startswith("probe")
    assert costs.query_madds == (PROBES * EDGES if is_probe else 0)
    assert costs.access == ("probes" if is_probe else "weights")
    assert costs.views == 1
    assert model.training


@pytest.mark.parametrize("probes", ["free", "deep_linear"])
def test_queries_of_graph_encoders_are_counted_apart(probes):
    plain, task = with_head(ProductGNN([TEMPLATE], dim=D, num_layers=1)), make_task()
    model = with_head(ProductGNN([TEMPLATE], dim=D, num_layers=1, num_probes=PROBES, probes=probes))
    costs, without = network_costs(model, task), network_costs(plain, task)
    assert costs.query_madds == PROBES * EDGES
    num_layers = 4
    assert costs.encoder_madds - without.encoder_madds == num_layers * NEURONS * PROBES * D
    assert costs.access == "weights+probes"
    scale = with_head(ScaleGMN([TEMPLATE], dim=D, num_layers=1, num_probes=PROBES, probes=probes))
    assert access_class(scale) == "weights+probes"
    assert network_costs(scale, task).query_madds == PROBES * EDGES


def test_queries_of_images():
    """A kernel at every place of the image, then a linear map of means."""
    template = template_from_spec(
        wild_park_spec((2, 3, 4), (3, 1), activations=("relu", "tanh"), num_outputs=3)
    )
    model = ProbeGen([template], num_probes=5, image_size=8, out_dim=2)
    expected = 8 * 8 * (2 * 3 * 9 + 3 * 4) + 4 * 3
    assert query_multiply_adds(model, template) == 5 * expected


def test_products_of_matrices_and_nothing_else():
    values, kernel = torch.randn(4, 3, 8, 8), torch.randn(5, 3, 3, 3)
    assert multiply_adds(lambda: torch.randn(2, 3) @ torch.randn(3, 4)) == 24
    assert multiply_adds(lambda: values * values) == 0
    assert multiply_adds(lambda: nn.functional.conv2d(values, kernel)) == 4 * 5 * 36 * 27


def test_views_are_networks_of_one_image():
    model = MODELS["flat_mlp"][0]()
    assert network_costs(model, make_task(num_views=3)).views == 3


def test_all_pairs_cost_more_than_edges():
    options = {"node_dim": 8, "edge_dim": D, "num_layers": 2, "num_heads": 2, "attention_dim": 8}
    costs = []
    for attention in ("edges", "all_pairs"):
        encoder = NGT([TEMPLATE], attention=attention, **options)
        pooling = Pooling("cat", dims=GraphDims.of([TEMPLATE]), node_dim=8, edge_dim=D)
        model = GraphModel(encoder, GraphHead(pooling, hidden_dims=[], out_dim=CLASSES))
        costs.append(network_costs(model, make_task()).encoder_madds)
    assert 0 < costs[0] < costs[1]


def test_normalisation_by_elements_is_not_counted():
    inputs = InputSettings(is_normalised=False)
    encoder = NGGNN([TEMPLATE], dim=D, num_layers=2, fourier_sigma=None, inputs=inputs)
    assert network_costs(with_head(encoder), make_task()).encoder_madds == of_ng_gnn()
