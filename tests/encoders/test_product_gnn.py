"""ProductGNN by hand: one layer as sums over the edges of a graph, and what it is scaled by."""

import torch
from torch.nn import functional as F

from nn_graphs.encoders.product_gnn import ProductGNN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from tests.encoders.cases import inr, networks, randomise

TEMPLATE = inr(2, 4, 3, 1)
DIMS = GraphDims.of([TEMPLATE])


def make(**options) -> ProductGNN:
    torch.manual_seed(0)
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, networks(TEMPLATE, 6) + 0.1)])
    sizes = {"dim": 5, "hidden_dim": 7, "num_layers": 1}
    encoder = ProductGNN([TEMPLATE], statistics, **sizes | options).double()
    randomise(encoder)
    return encoder


def test_a_layer_by_sums_over_edges():
    """`x_i + W_2 SiLU(W_1 [y_i, sum_j w_ij A y_j / sqrt(fan-in), the same against the edges])`."""
    encoder, stack = make(), TEMPLATE.stack(networks(TEMPLATE, 1))
    (layer,), structure = encoder.layers, TEMPLATE.structure()
    nodes = encoder.features.nodes(stack)
    normed = layer.norm(stack.topology, nodes)[0]
    along, against = layer.message(normed).chunk(2, dim=-1)
    weights = encoder.features.normalised_weights(stack)[0, :, 0]
    sums = torch.zeros(2, TEMPLATE.num_nodes, 5, dtype=torch.float64)
    for (source, target), weight in zip(structure.edge_index.T.tolist(), weights, strict=True):
        fan_in = (structure.edge_index[1] == target).sum()
        fan_out = (structure.edge_index[0] == source).sum()
        sums[0, target] += weight * along[source] / fan_in.double().sqrt()
        sums[1, source] += weight * against[target] / fan_out.double().sqrt()
    hidden = F.silu(layer.update(torch.cat([normed, *sums], dim=-1)))
    expected = encoder.norm(stack.topology, nodes + layer.out(hidden))
    torch.testing.assert_close(encoder(stack).nodes, expected, rtol=1e-10, atol=1e-12)


def test_edges_are_read_off_their_ends_and_weights():
    encoder, stack = make(), TEMPLATE.stack(networks(TEMPLATE, 2))
    encoded, readout = encoder(stack), encoder.edge_readout
    source, target = TEMPLATE.structure().edge_index
    expected = (
        readout.from_weight(encoder.features.normalised_weights(stack))
        + readout.from_source(encoded.nodes[:, source])
        + readout.from_target(encoded.nodes[:, target])
    )
    torch.testing.assert_close(encoded.edges, expected, rtol=1e-10, atol=1e-12)
    assert encoder(stack, reads="nodes").edges is None


def test_weights_are_measured_from_zero():
    encoder = make()
    stack = TEMPLATE.stack(torch.zeros(1, TEMPLATE.num_params, dtype=torch.float64))
    assert (encoder.features.normalised_weights(stack) == 0).all()
    assert (encoder.features.weight_std[1:] != 1).all()
