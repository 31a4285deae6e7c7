"""The invariant head: averages of all spaces, and an MLP."""

import torch
from torch import nn
from torch.testing import assert_close

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.equivariant.head import InvariantHead
from nn_graphs.encoders.equivariant.spaces import ParameterSpaces
from nn_graphs.encoders.features import EncodedGraphs
from nn_graphs.graphs.builder import without_fixed_neurons
from tests.encoders.cases import inr, networks

TEMPLATE = inr(2, 5, 4, 3)


def encoded() -> EncodedGraphs:
    torch.manual_seed(0)
    nodes, edges = torch.randn(2, 14, 6), torch.randn(2, 42, 6)
    return EncodedGraphs(TEMPLATE.stack(networks(TEMPLATE, 2)), nodes, edges)


def make_head(template, **options) -> InvariantHead:
    options = {"hidden_dims": [], "dropout": 0.0, "out_dim": 4} | options
    return InvariantHead(ParameterSpaces(template), dim=6, **options)


def test_inputs_and_outputs_stay_apart():
    head, graphs = make_head(TEMPLATE), encoded()
    nodes, edges = graphs.nodes, graphs.edges
    first, second, last = edges[:, :10], edges[:, 10:30], edges[:, 30:]
    expected = torch.cat(
        [
            nodes[:, 2:7].mean(1),
            nodes[:, 7:11].mean(1),
            nodes[:, 11:].flatten(1),
            first.unflatten(1, (5, 2)).mean(1).flatten(1),
            second.mean(1),
            last.unflatten(1, (3, 4)).mean(2).flatten(1),
        ],
        dim=1,
    )
    (linear,) = head.mlp
    assert_close(head(graphs), linear(expected))


def test_where_all_neurons_may_be_permuted_there_is_one_average_per_tensor():
    head, graphs = make_head(without_fixed_neurons(TEMPLATE)), encoded()
    biases = [part.mean(1) for part in graphs.nodes[:, 2:].split([5, 4, 3], dim=1)]
    weights = [part.mean(1) for part in graphs.edges.split([10, 20, 12], dim=1)]
    (linear,) = head.mlp
    assert_close(head(graphs), linear(torch.cat(biases + weights, dim=1)))


def test_layers_of_the_mlp():
    head = make_head(TEMPLATE, hidden_dims=[8, 7], dropout=0.5)
    hidden = [nn.Linear, nn.ReLU, Dropout]
    assert [type(layer) for layer in head.mlp] == [*hidden, *hidden, nn.Linear]
    assert head(encoded()).shape == (2, 4)
