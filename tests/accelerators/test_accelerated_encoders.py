"""Every encoder, head and pooling on a device: forward and backward, with the CPU's values."""

import math
from typing import get_args

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

import nn_graphs.encoders.encoder_files  # noqa: F401 (which names all classes of the library)
from nn_graphs.encoders import encoder_registry
from nn_graphs.encoders.dropout import Dropout, dropout_draws
from nn_graphs.encoders.features import EncodedGraphs, Graphs
from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import EdgeHead, NodeHead, ParameterHead
from nn_graphs.encoders.norms import NORM_NAMES
from nn_graphs.encoders.pooled_encoder import PooledEncoder
from nn_graphs.encoders.pooling import Pooling, PoolingMethod
from nn_graphs.encoders.probe_only import ProbeOnly
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.encoders.statnn import StatNN
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE
from nn_graphs.graphs.graph_template import NeuralGraphStack
from tests.accelerators.both_places import assert_same_there, outputs_and_gradients
from tests.encoders import test_weight_space_encoders as weight_space
from tests.encoders.cases import ENCODERS, classifier, editor, make_encoder, networks, small
from tests.encoders.cases import inr as make_inr

INR, SMALL = make_inr(2, 4, 2), small()
BOTH = [INR, SMALL]
DIMS = GraphDims.of(BOTH)
DIM = 8  # which the set transformer's heads divide


def stack():
    return INR.stack(networks(INR, 3))


def batch() -> Batch:
    return Batch.from_data_list([*stack(), *SMALL.stack(networks(SMALL, 2, seed=1))])


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_of_graphs(device, name):
    encoder = make_encoder(name, BOTH)
    model = classifier(encoder, DIMS)
    for graphs in (stack(), batch()):
        assert_same_there(outputs_and_gradients, device, model, graphs)


def test_all_classes_with_a_name_are_among_them():
    """What the registry names, and these tests do not know, is to be added to their cases."""
    library = {
        name: cls
        for name, cls in encoder_registry._CLASSES.items()
        if cls.__module__.startswith("nn_graphs.")
    }
    tried = {type(make_encoder(name, [SMALL])) for name in ENCODERS}
    assert set(library.values()) == tried | {Pooling, PooledEncoder, VGAE}


@pytest.mark.parametrize("name", weight_space.ENCODERS)
def test_encoders_of_weight_spaces(device, name):
    encoder = weight_space.make_encoder(name, INR)
    graphs = stack()
    assert_same_there(outputs_and_gradients, device, weight_space.classifier(encoder), graphs)
    edits = editor(encoder, GraphDims.of([INR]))
    assert_same_there(outputs_and_gradients, device, edits, graphs)


BASELINES = {
    "flat_mlp": lambda: FlatMLP(
        INR, WeightStatistics.measure(GraphDims.of([INR]), [(INR, networks(INR, 6))]), out_dim=3
    ),
    "statnn": lambda: StatNN(BOTH, [stack(), SMALL.stack(networks(SMALL, 9))], out_dim=3),
    "probe_only": lambda: ProbeOnly(BOTH, num_probes=5, hidden_dims=(7,), out_dim=3),
}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines(device, name):
    model = BASELINES[name]().double().eval()
    for graphs in (stack(),) if name == "flat_mlp" else (stack(), batch()):
        assert_same_there(outputs_and_gradients, device, model, graphs)


class Given(nn.Module):
    """A head on vectors that are given, as parameters."""

    def __init__(self, head: nn.Module, graphs: Graphs):
        super().__init__()
        self.head = head
        self.nodes = nn.Parameter(waves(*graphs.node_features.shape[:-1], DIM))
        self.edges = nn.Parameter(waves(*graphs.edge_features.shape[:-1], DIM))
        self.graph = nn.Parameter(waves(graphs.num_graphs, DIM))

    def forward(self, graphs: Graphs):
        return self.head(EncodedGraphs(graphs, self.nodes, self.edges, self.graph))


def waves(*shape: int) -> torch.Tensor:
    return torch.arange(float(math.prod(shape)), dtype=torch.float64).sin().view(shape)


HEADS = {
    f"{method} {layer}": lambda dims, method=method, layer=layer: Pooling(
        method, layer=layer, dims=dims, node_dim=DIM, edge_dim=DIM
    )
    for method in get_args(PoolingMethod)
    for layer in (("last",) if method in ("cat", "cat_mean", "cls_token") else ("last", "all", 1))
}
HEADS |= {
    "nodes": lambda dims: NodeHead(DIM),
    "edges": lambda dims: EdgeHead(DIM),
    "parameters": lambda dims: ParameterHead(DIM, DIM, dims=dims),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads_and_pooling(device, name):
    for graphs in (stack(), batch()):
        dims = GraphDims.of([INR]) if name.startswith("cat_mean") else DIMS
        if dims is not DIMS:
            graphs = stack() if isinstance(graphs, NeuralGraphStack) else stack().to_batch()
        model = Given(HEADS[name](dims), graphs).double().eval()
        assert_same_there(outputs_and_gradients, device, model, graphs)


@pytest.mark.parametrize("name", ["structure", "gnn"])
def test_vgae(device, name):
    """Losses without draws, embeddings; what is drawn is drawn on the device."""
    model = VGAE(make_encoder(name, BOTH), DIMS, latent_dim=3, weight_factor=0.5).double()
    for graphs in (stack(), batch()):
        assert_same_there(lambda vgae, each: vgae.embed(each), device, model.eval(), graphs)
        moved = model.train().to(device)
        loss = moved.losses(graphs.to(device)).total.sum()
        loss.backward()
        assert loss.device == device
        assert torch.isfinite(loss).item()
        model.cpu()


@pytest.mark.parametrize("name", NORM_NAMES)
def test_norms_keep_their_averages_where_the_model_is(device, name):
    model = NGGNN(BOTH, dim=8, num_layers=2, dropout=0.0, norm=name).double().train()

    def trained(model: nn.Module, graphs) -> list:
        return [*outputs_and_gradients(model, graphs), *model.state_dict().values()]

    for graphs in (stack(), batch()):
        assert_same_there(trained, device, model, graphs)


def test_dropout_draws_on_the_device(device):
    dropout, values = Dropout(0.5).train(), torch.ones(64, device=device)
    with dropout_draws(torch.tensor(3, dtype=torch.int32)):
        first, second = dropout(values), dropout(values)
    assert first.device == device
    assert set(first.tolist()) == {0.0, 2.0}
    assert first.tolist() != second.tolist()
    assert isinstance(dropout, nn.Module)
