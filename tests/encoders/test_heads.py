"""Heads: shapes, and parameters that come back where they belong."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.features import EncodedGraphs
from nn_graphs.encoders.heads import EdgeHead, GraphHead, NodeHead, ParameterHead
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from tests.encoders.cases import inr, networks, skipping

TEMPLATE = skipping()
DIMS = GraphDims.of([TEMPLATE])
STACK = TEMPLATE.stack(networks(TEMPLATE, 3))
STRUCTURE = TEMPLATE.structure()


def encoded() -> EncodedGraphs:
    torch.manual_seed(0)
    nodes = torch.randn(3, TEMPLATE.num_nodes, 4, dtype=torch.float64)
    edges = torch.randn(3, TEMPLATE.num_edges, 5, dtype=torch.float64)
    return EncodedGraphs(STACK, nodes, edges)


def make_parameter_head(**options) -> ParameterHead:
    return ParameterHead(4, 5, dims=DIMS, **options).double()


def test_node_and_edge_heads_have_one_row_per_neuron_and_weight():
    graphs = encoded()
    assert NodeHead(4, out_dim=3).double()(graphs).shape == (3, TEMPLATE.num_nodes, 3)
    assert EdgeHead(5, out_dim=2).double()(graphs).shape == (3, TEMPLATE.num_edges, 2)


@pytest.mark.parametrize("hidden_dims", [[], [7], [7, 8]])
def test_graph_head_has_relus_between_its_layers(hidden_dims):
    pooling = Pooling("mean", dims=DIMS, node_dim=4, edge_dim=5)
    head = GraphHead(pooling, hidden_dims=hidden_dims, out_dim=6).double()
    assert head(encoded()).shape == (3, 6)
    kinds = [type(layer) for layer in head.mlp]
    assert kinds == [nn.Linear, nn.ReLU] * len(hidden_dims) + [nn.Linear]


def test_factors_begin_at_one_hundredth():
    head = make_parameter_head()
    for factor in (head.new.bias_factor, head.new.weight_factor):
        assert_close(factor, torch.full((DIMS.num_layers - 1,), 0.01).double())


def test_each_parameter_is_read_from_its_own_neuron_or_edge():
    head, graphs = make_parameter_head(is_residual=False), encoded()
    before = head(graphs).params
    nodes, edges = graphs.nodes.clone(), graphs.edges.clone()
    nodes[:, 3] += 1  # the second neuron of the first hidden layer
    edges[:, 5] += 1  # from the second input to the third neuron of the first hidden layer
    after = head(EncodedGraphs(STACK, nodes, edges)).params
    changed = (before != after).all(0).nonzero().squeeze(1).tolist()
    slots = TEMPLATE.parameters
    bias, weight = slots.slot("layers.0.bias"), slots.slot("layers.0.weight")
    assert changed == [weight.offset + 5, bias.offset + 1]
    assert STRUCTURE.edge_index[:, 5].tolist() == [1, 4]


def test_outputs_are_in_units_of_the_layers_factor_and_deviation():
    statistics = WeightStatistics.measure(DIMS, [(TEMPLATE, networks(TEMPLATE, 20))])
    head = make_parameter_head(statistics=statistics, is_residual=False)
    nn.init.normal_(head.new.bias_factor)
    nn.init.normal_(head.new.weight_factor)
    graphs = encoded()
    tensors = TEMPLATE.parameters.unflatten(head(graphs).params)
    bias = head.node_head(graphs)[:, 2:6, 0] * head.new.bias_factor[0] * statistics.bias_std[1]
    assert_close(tensors["layers.0.bias"], bias)
    last = (
        head.edge_head(graphs)[:, -6:, 0] * head.new.weight_factor[-1] * statistics.weight_std[-1]
    )
    assert_close(tensors["layers.4.weight"].flatten(1), last)


def test_residual_outputs_are_changes_of_the_parameters():
    changes, edited = make_parameter_head(is_residual=False), make_parameter_head()
    edited.load_state_dict(changes.state_dict())
    graphs = encoded()
    assert_close(edited(graphs).params, STACK.params + changes(graphs).params)


@pytest.mark.parametrize("is_residual", [False, True])
def test_what_no_parameter_sets_stays(is_residual):
    found = make_parameter_head(is_residual=is_residual)(encoded())
    is_constant = STRUCTURE.edge_kind_id != 0
    assert_close(found.edge_features[:, is_constant], STACK.edge_features[:, is_constant])
    assert (found.node_features[:, ~STRUCTURE.has_bias] == 0).all()
    assert found.template is TEMPLATE


def test_edge_lists_come_back_as_edge_lists():
    head, graphs = make_parameter_head(), encoded()
    batch = Batch.from_data_list(list(STACK))
    flat = EncodedGraphs(batch, graphs.nodes.flatten(0, 1), graphs.edges.flatten(0, 1))
    before = batch.node_features.clone()
    found, expected = head(flat), head(graphs)
    assert_close(found.node_features, expected.node_features.flatten(0, 1))
    assert_close(found.edge_features, expected.edge_features.flatten(0, 1))
    assert torch.equal(batch.node_features, before)
    first = found.to_data_list()[0]
    assert_close(TEMPLATE.invert(first), expected.params[0])


def test_shallower_graphs_use_the_factor_of_the_outputs():
    template = inr(2, 3, 2)
    head = make_parameter_head(is_residual=False)
    nn.init.zeros_(head.new.bias_factor)
    with torch.no_grad():
        head.new.bias_factor[-1] = 1
    stack = template.stack(networks(template, 1))
    nodes = torch.randn(1, template.num_nodes, 4, dtype=torch.float64)
    edges = torch.randn(1, template.num_edges, 5, dtype=torch.float64)
    found = template.parameters.unflatten(head(EncodedGraphs(stack, nodes, edges)).params)
    assert (found["layers.0.bias"] == 0).all()
    assert (found["layers.1.bias"] != 0).all()
