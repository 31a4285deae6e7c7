"""The encoder of StructureReps: published rows, what its arguments add, draws, bad input."""

import pytest
import torch
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dropout import dropout_draws
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.encoders.vgae.convolutions import AttentionConvolution, TransformerConvolution
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.positional import LaplacianEncoding, RandomFeatures
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.testing import assert_batch_independent
from tests.encoders.cases import inr, networks, skipping
from tests.processes import assert_runs_in_own_process

TEMPLATE = inr(2, 5, 4, 2)
ALL = [TEMPLATE, skipping(), inr(2, 2)]
LAPLACIAN = {"encoding": LaplacianEncoding(4)}
ROWS = {
    "EA+TC+LF": {"convolution": "transformer"} | LAPLACIAN,
    "EA+GC+LF": {"convolution": "attention"} | LAPLACIAN,
    "GC+LF": {"convolution": "attention", "has_edge_attention": False} | LAPLACIAN,
    "GC+RF": {
        "convolution": "attention",
        "has_edge_attention": False,
        "encoding": RandomFeatures(4),
    },
}


def make(templates=(TEMPLATE,), **options) -> StructureEncoder:
    torch.manual_seed(0)
    sizes = {"dim": 8, "num_heads": 2}
    return StructureEncoder(list(templates), **sizes | options).double()


def key(number: int) -> torch.Tensor:
    return torch.tensor(number, dtype=torch.int32)


@pytest.mark.parametrize("row", ROWS)
def test_published_rows(row):
    encoder = make(ALL, has_neuron_features=False, **ROWS[row]).eval()
    kind = TransformerConvolution if "TC" in row else AttentionConvolution
    assert all(isinstance(layer, kind) for layer in encoder.layers)
    assert (encoder.edge_attention is not None) == ("EA" in row)
    assert_batch_independent(encoder, [t.stack(networks(t, 2)) for t in ALL])
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    encoded = encoder(stack)
    other = stack.with_features(stack.node_features + 1, stack.edge_features)
    assert torch.equal(encoder(other).nodes, encoded.nodes)  # biases are not read
    encoded.nodes.square().sum().backward()
    unread = {name for name, p in encoder.named_parameters() if p.grad is None}
    assert all(name.startswith("edge_readout.") for name in unread)


def test_what_reads_weights():
    """Without Edge Attention and weights in the convolutions, an architecture is one point."""
    stack = TEMPLATE.stack(networks(TEMPLATE, 2))
    options = {"has_neuron_features": False, "has_edge_attention": False} | LAPLACIAN
    for convolution in ("transformer", "attention"):
        blind = make(has_edge_features=False, convolution=convolution, **options).eval()
        assert_close(*blind(stack).nodes)
        sees = make(convolution=convolution, **options).eval()
        assert (sees(stack).nodes[0] - sees(stack).nodes[1]).abs().max() > 1e-4
    attentive = make(has_edge_features=False, **options | {"has_edge_attention": True}).eval()
    assert (attentive(stack).nodes[0] - attentive(stack).nodes[1]).abs().max() > 1e-4


def test_training_draws_from_the_key():
    """Signs and noise are drawn anew for every graph; not without training."""
    encoder = make(has_neuron_features=False, noise_scale=0.0, **LAPLACIAN)
    params = networks(TEMPLATE, 1).expand(6, -1)
    stack = TEMPLATE.stack(params)

    def encoded(number: int, graphs=stack) -> torch.Tensor:
        with dropout_draws(key(number)):
            return encoder(graphs).nodes

    found = encoded(1)
    assert torch.equal(found, encoded(1))
    assert not torch.equal(found, encoded(2))
    assert len(found.detach().unique(dim=0)) > 1
    assert_close(encoded(1, Batch.from_data_list([*stack])), found.flatten(0, 1))
    encoder.eval()
    assert_close(encoded(1), encoded(2)[:1].expand(6, -1, -1))
    assert torch.equal(encoded(1), encoded(2))
    still = make(has_random_signs=False, noise_scale=0.0, **LAPLACIAN)
    assert torch.equal(still(stack).nodes, still(stack).nodes)


def test_convolutional_networks():
    spec = wild_park_spec((2, 3, 4), (1, 3), activations=("relu",) * 2, num_outputs=2)
    template = template_from_spec(spec)
    dims = GraphDims.of([template])
    encoder = make([template], encoding=LaplacianEncoding(3, is_weighted=True)).eval()
    stack = dims.centred(template.stack(networks(template, 2)))
    assert_batch_independent(encoder, [stack])
    assert torch.equal(encoder(template.stack(networks(template, 2))).nodes, encoder(stack).nodes)


def test_cost_of_a_graph():
    assert make().values_per_graph(13, 38) > make(is_bidirectional=False).values_per_graph(13, 38)


def test_encoding_tells_models_apart():
    assert "LaplacianEncoding(num_features=4" in repr(make(**LAPLACIAN))


def test_bad_input(raises_saying):
    with raises_saying(asked="8 numbers of 3 heads", found="does not divide", do="dim"):
        make(num_heads=3)
    with raises_saying(asked="StructureEncoder", found="no features", do="has_edge_attention"):
        make(has_edge_attention=False, has_neuron_features=False)


def test_an_unknown_convolution():
    assert_runs_in_own_process(make_unknown_convolution)


def make_unknown_convolution() -> None:
    with pytest.raises(NNGraphsError, match="convolve by 'gcn': there is no 'gcn'"):
        make(convolution="gcn")
