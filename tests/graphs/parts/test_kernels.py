"""Kernels of many sizes: stored at their own, brought to one for encoders, and back."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.tracing import trace
from tests.graphs.architectures import SPECS
from tests.graphs.convolutional import CASES


@pytest.fixture
def template():
    module = nn.Sequential(
        nn.Conv2d(1, 2, (3, 2)), nn.ReLU(), nn.Conv2d(2, 1, 1), nn.Flatten(), nn.Linear(6, 2)
    )
    return trace(module, torch.zeros(1, 1, 4, 4))


def test_a_stack_stores_kernels_at_their_own_size_and_a_graph_has_a_row_an_edge(template):
    assert (template.num_nodes, template.num_edges) == (1 + 2 + 1 + 2, 2 + 2 + 12)
    assert template.num_values == 12 + 2 + 12
    assert template.kernel_size == (3, 2)
    params = torch.arange(1.0, 1 + template.num_params)
    assert template.stack(params.unsqueeze(0)).edge_features.shape == (1, 26, 1)
    graph = template(params)
    assert graph.edge_features.shape == graph.is_value.shape == (16, 6)
    assert graph.is_value.sum() == 26
    assert graph.edge_index.shape == (2, 16)
    assert graph.num_edges == 16
    assert graph.position_id.tolist() == [0] * 4 + [0, 1, 2, 3, 4, 5] * 2


def test_kernels_are_centred_by_hand(template):
    graph = template.centred(template(torch.arange(1.0, 1 + template.num_params)), (3, 3))
    kernels = graph.edge_features.unflatten(1, (3, 3))
    assert kernels[0].tolist() == [[1, 2, 0], [3, 4, 0], [5, 6, 0]]
    assert kernels[2].tolist() == [[0, 0, 0], [0, 15, 0], [0, 0, 0]]
    assert kernels[4].tolist() == [[0, 0, 0], [0, 18, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["ResNet-18", "U-Net", "one axis", "three axes", "flatten"])
def test_cropping_undoes_centring(name):
    case = CASES[name]
    template = trace(case.module(), case.inputs())
    params = torch.stack([template.parameters.flatten(case.module(seed)) for seed in (0, 1)])
    stack, size = template.stack(params), tuple(n + 2 for n in template.kernel_size)
    centred = template.centred(stack, size)
    assert centred.edge_features.shape == (2, template.num_edges, torch.Size(size).numel())
    torch.testing.assert_close(
        centred.edge_features.sum((1, 2)), stack.edge_features.sum((1, 2)), rtol=1e-9, atol=1e-9
    )
    back = template.cropped(centred, size)
    assert torch.equal(back.edge_features, stack.edge_features)
    one = template.centred(stack[0], size)
    assert torch.equal(one.edge_features, centred[0].edge_features)
    assert torch.equal(one.is_value, centred[0].is_value)
    again = template.centred(one, template.kernel_size)
    assert torch.equal(again.edge_features, stack[0].edge_features)
    assert torch.equal(template.centred(centred, size).edge_features, centred.edge_features)


def test_networks_with_other_kernels_share_a_batch():
    graphs = []
    for name in ("ResNet-18", "DenseNet", "flatten"):
        case = CASES[name]
        template = trace(case.module(), case.inputs())
        graphs.append(template.centred(template(case.module()), (7, 7)))
    spec = SPECS["INR"]
    plain = template_from_spec(spec)
    graphs.append(plain.centred(plain(torch.ones(spec.num_params).double()), (7, 7)))
    batch = Batch.from_data_list(graphs)
    assert batch.edge_features.shape == (sum(graph.num_edges for graph in graphs), 49)
    assert len(batch.position_id) == len(batch.edge_kind_id) == batch.num_edges
    assert torch.equal(batch[1].edge_features, graphs[1].edge_features)


def test_a_kernel_of_fewer_axes_lies_on_the_last():
    case = CASES["one axis"]
    template = trace(case.module(), case.inputs())
    graph = template.centred(template(case.module()), (3, 5))
    kernels = graph.edge_features.unflatten(1, (3, 5))
    assert (kernels[:, [0, 2]] == 0).all()
    assert (kernels[:, 1, 1:4] != 0).any()


@pytest.mark.parametrize("size", [(2, 2), (3,), (3, 1)])
def test_smaller_kernels_are_refused(size, template, raises_saying):
    graph = template(torch.zeros(template.num_params))
    with raises_saying(
        asked=f"centre kernels in {list(size)}", found="[3, 2]", do="the largest kernel"
    ):
        template.centred(graph, size)
