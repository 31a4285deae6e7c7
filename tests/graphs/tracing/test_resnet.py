"""A traced ResNet-18 under random permutations of its neurons: same outputs, same embedding."""

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Batch

from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.symmetry import SymmetryElement, apply_symmetries, sample_symmetries
from nn_graphs.graphs.tracing import trace
from tests.graphs.convolutional import CASES

CASE = CASES["ResNet-18"]
NUM_NETWORKS = 2


@pytest.fixture(scope="module")
def template() -> GraphTemplate:
    return trace(CASE.module(), CASE.inputs())


@pytest.fixture(scope="module")
def params(template) -> Tensor:
    seeds = range(NUM_NETWORKS)
    return torch.stack([template.parameters.flatten(CASE.module(seed)) for seed in seeds])


@pytest.fixture(scope="module")
def moved(template, params) -> Tensor:
    return apply_symmetries(template, params, permutations(template))


def permutations(template: GraphTemplate) -> SymmetryElement:
    generator = torch.Generator().manual_seed(5)
    options = {"kinds": ("permutation",), "generator": generator, "dtype": torch.float64}
    return sample_symmetries(template, NUM_NETWORKS, **options)


def test_outputs_stay_in_float32(template, params, moved):
    module = CASE.module().float()
    images = CASE.inputs()[0].float()
    for before, after in zip(params, moved, strict=True):
        assert (before != after).double().mean() > 0.9
        outputs = []
        for row in (before, after):
            module.load_state_dict(template.parameters.unflatten(row.float()), strict=False)
            outputs.append(module(images).detach())
        scale = outputs[0].abs().max()
        torch.testing.assert_close(outputs[1] / scale, outputs[0] / scale, rtol=0, atol=1e-5)


def embeddings(template: GraphTemplate, params: Tensor) -> Tensor:
    """Of each network, what NG-GNN makes of its output neurons, and the mean over all neurons."""
    torch.manual_seed(0)
    encoder = NGGNN([template], dim=8, num_layers=3).double().eval()
    graphs = [template.centred(template(row), template.kernel_size) for row in params]
    with torch.no_grad():
        encoded = encoder(Batch.from_data_list(graphs), reads="nodes")
    nodes = encoded.nodes.unflatten(0, (len(params), -1))
    means = nodes.mean(dim=1)
    outputs = nodes[:, -template.groups[-1].width :].flatten(1)
    return torch.cat([means, outputs], dim=1)


def test_the_graph_embedding_stays(template, params, moved):
    before, after = embeddings(template, params), embeddings(template, moved)
    assert not torch.allclose(before[0], before[1], rtol=1e-3)  # control: weights do matter
    torch.testing.assert_close(after, before, rtol=1e-9, atol=1e-9)


def test_the_embedding_sees_neurons_that_move_alone(template, params):
    """Control: the rows of one convolution in another order are another graph."""
    slot = next(slot for slot in template.parameters.slots if len(slot.shape) == 4)
    changed = params.clone()
    view = template.parameters.view(changed, slot)
    view.copy_(view.flip(1).clone())
    before, after = embeddings(template, params), embeddings(template, changed)
    assert not torch.allclose(before, after, rtol=1e-6)
