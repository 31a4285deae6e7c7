"""Embeddings of zoos: in their order, a network's vector from that network alone, any sizes."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

import nn_graphs
from nn_graphs.encoders import embedding
from nn_graphs.encoders.embedding import embed
from nn_graphs.encoders.features import InputSettings
from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import GraphHead, GraphModel, NodeHead
from nn_graphs.encoders.pooled_encoder import PooledEncoder
from nn_graphs.encoders.pooling import Pooling
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.encoders.vgae.graph_autoencoder import VGAE
from nn_graphs.encoders.vgae.structure_encoder import StructureEncoder
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.positional import LaplacianEncoding
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.zoos.zoo import Zoo
from tests.toy_zoos import DEEP, SMALL

CNN = small_cnn_zoo_spec("relu")
TEMPLATES = [template_from_spec(spec) for spec in (SMALL, DEEP, CNN)]
COUNTS = {SMALL: 6, DEEP: 2, CNN: 5}


def make_zoo(counts: dict[NetworkSpec, int] = COUNTS, *, seed: int = 0) -> Zoo:
    """Networks of several architectures, in no order."""
    generator = torch.Generator().manual_seed(seed)
    params = [
        0.3 * torch.randn(count, spec.num_params, generator=generator)
        for spec, count in counts.items()
    ]
    kinds = np.repeat(np.arange(len(counts)), list(counts.values()))
    rows = np.concatenate([np.arange(count) for count in counts.values()])
    order = np.random.default_rng(seed).permutation(len(kinds))
    table = pd.DataFrame({"spec": kinds[order], "row": rows[order]})
    return Zoo(tuple(counts), tuple(params), table)


def make_encoder(templates=TEMPLATES, **options) -> VGAE:
    """Of vectors that follow weights as in training mode they would not."""
    torch.manual_seed(0)
    encoding = LaplacianEncoding(2, is_weighted=True)
    options = {"dim": 8, "num_heads": 2, "encoding": encoding, "dropout": 0.3} | options
    encoder = StructureEncoder(templates, None, **options)
    return VGAE(encoder, GraphDims.of(templates), latent_dim=5)


def one_by_one(encoder: VGAE, zoo: Zoo) -> np.ndarray:
    """Each network by itself, as a stack of one."""
    rows = []
    for number, kind in enumerate(zoo.table["spec"]):
        stack = template_from_spec(zoo.specs[kind]).stack(zoo.take([number]))
        with torch.no_grad():
            rows.append(encoder.eval().embed(stack)[0])
    return torch.stack(rows).numpy()


@pytest.mark.parametrize("block_size", [None, 1, 4])
def test_vectors_are_those_of_each_network_by_itself_in_the_order_of_the_zoo(block_size):
    zoo, encoder = make_zoo(), make_encoder()
    expected = one_by_one(encoder, zoo)
    encoder.train()
    found = embed(encoder, zoo, block_size=block_size)
    assert encoder.training  # it is left as it was
    assert found.shape == (13, 5)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    assert np.ptp(found, axis=0).min() > 1e-3
    chosen = [7, 2, 11]
    np.testing.assert_allclose(embed(encoder, zoo.select(chosen)), found[chosen], rtol=1e-4)


def test_blocks_that_are_stacks_and_blocks_that_are_mixed():
    zoo, encoder = make_zoo(), make_encoder()
    blocks = [*embedding._blocks(encoder, zoo, TEMPLATES, 4, is_on_cpu=True)]
    assert [(block.kind, len(block.numbers)) for block in blocks] == [
        (0, 4),
        (0, 2),
        (2, 4),
        (2, 1),
        (None, 2),
    ]
    assert sorted(np.concatenate([block.numbers for block in blocks])) == [*range(13)]


def test_blocks_stay_in_the_cache(monkeypatch):
    zoo, encoder = make_zoo({SMALL: 9, DEEP: 3}), make_encoder()
    values = [encoder.values_per_graph(t.num_nodes, t.num_edges) for t in TEMPLATES[:2]]
    monkeypatch.setattr(embedding, "CORE_VALUES", 4 * values[0])
    blocks = [*embedding._blocks(encoder, zoo, TEMPLATES[:2], None, is_on_cpu=True)]
    assert [len(block.numbers) for block in blocks][:3] == [4, 4, 1]
    whole = [*embedding._blocks(encoder, zoo, TEMPLATES[:2], None, is_on_cpu=False)]
    assert [len(block.numbers) for block in whole] == [9, 3]


def test_networks_whose_blocks_are_no_matrices():
    """What is flattened has several places of a channel side by side: no stack."""
    flat = NetworkSpec.cnn(
        (1, 3, 2), convs=ConvSpec.square(3), activations="relu", num_outputs=2, num_places=4
    )
    template = template_from_spec(flat)
    assert not template.has_regular_blocks
    zoo, encoder = make_zoo({flat: 6}), make_encoder([template])
    found = embed(encoder, zoo)
    graphs = [template(zoo.take([number])[0]) for number in range(6)]
    with torch.no_grad():
        batch = Batch.from_data_list([template.centred(each, (3, 3)) for each in graphs])
        expected = encoder.eval().embed(batch).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_other_architectures_than_those_of_the_training():
    """Wider, deeper, with other kernels in smaller numbers; with neuron features, and without."""
    wide = NetworkSpec.mlp((2, 9, 7, 5, 1), activation=Activation("relu"))
    zoo = make_zoo({wide: 3, SMALL: 2})
    for options in ({}, {"has_neuron_features": False}):
        encoder = make_encoder(TEMPLATES[:1], **options)
        found = embed(encoder, zoo)
        assert found.shape == (5, 5)
        assert np.isfinite(found).all()
        np.testing.assert_allclose(found, one_by_one(encoder, zoo), rtol=1e-4, atol=1e-6)


def test_precision_is_that_of_the_encoder():
    zoo = make_zoo({SMALL: 5, DEEP: 2})
    found = embed(make_encoder(TEMPLATES[:2]).double(), zoo)
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, embed(make_encoder(TEMPLATES[:2]), zoo), rtol=1e-3, atol=1e-5)


def test_encoders_of_trained_models():
    zoo = make_zoo({SMALL: 5})
    torch.manual_seed(0)
    encoder = NGGNN(TEMPLATES[:1], dim=4, num_layers=2)
    pooling = Pooling("cat", dims=GraphDims.of(TEMPLATES[:1]), node_dim=4, edge_dim=4)
    model = GraphModel(encoder, GraphHead(pooling, hidden_dims=[], out_dim=3)).eval()
    vectors = embed(model.as_encoder(), zoo)
    outputs = model(TEMPLATES[0].stack(zoo.take([*range(5)])))
    expected = torch.from_numpy(vectors) @ model.head.mlp[-1].weight.T + model.head.mlp[-1].bias
    torch.testing.assert_close(outputs, expected)
    assert GraphModel(encoder, NodeHead(4)).as_encoder() is None


def test_the_library_names_it():
    assert nn_graphs.embed is embed


def test_kernels_that_are_larger(raises_saying):
    encoder = make_encoder(TEMPLATES[:2])
    told = "[3, 3], the encoder was made for []"
    with raises_saying(asked=TEMPLATES[2].widths, found=told, do="Train"):
        embed(encoder, make_zoo())


@pytest.mark.parametrize(("layout", "count"), [((5, 3, 1), "5 inputs"), ((2, 3, 4), "4 outputs")])
def test_inputs_and_outputs_that_it_cannot_tell_apart(raises_saying, layout, count):
    spec = NetworkSpec.mlp(layout, activation=Activation("relu"))
    zoo = make_zoo({spec: 2, SMALL: 5})
    with raises_saying(asked="-".join(map(str, layout)), found=count, do="has_neuron_features"):
        embed(make_encoder(TEMPLATES[:1]), zoo)
    assert embed(make_encoder(TEMPLATES[:1], has_neuron_features=False), zoo).shape == (7, 5)


def test_activations_that_are_not_in_its_table(raises_saying):
    relu = NetworkSpec.mlp((2, 3, 1), activation=Activation("relu"))
    mish = NetworkSpec.mlp((2, 3, 1), activation=Activation("mish"))
    templates = [template_from_spec(relu)]
    pooling = Pooling("mean", dims=GraphDims.of(templates), node_dim=4, edge_dim=4)
    options = {"dim": 4, "num_layers": 2, "has_activation_embedding": True}
    encoder = PooledEncoder(NGGNN(templates, **options), pooling)
    with raises_saying(asked="2-3-1", found="activation mish", do="num_activations=16"):
        embed(encoder, make_zoo({mish: 2}))
    large = NGGNN(templates, **options, inputs=InputSettings(num_activations=16))
    assert embed(PooledEncoder(large, pooling), make_zoo({mish: 2})).shape == (2, 4)


def test_what_cannot_embed(raises_saying):
    zoo = make_zoo({SMALL: 3})
    flat = FlatMLP(TEMPLATES[0], None, hidden_dims=(), dropout=0.0, out_dim=2)
    with raises_saying(asked="FlatMLP", found="no method `embed`", do="as_encoder"):
        embed(flat, zoo)
    encoder = NGGNN(TEMPLATES[:1], dim=4, num_layers=2, norm="published")
    pooling = Pooling("mean", dims=GraphDims.of(TEMPLATES[:1]), node_dim=4, edge_dim=4)
    with raises_saying(asked="PooledEncoder", found="whole batches", do="norm='graph'"):
        embed(PooledEncoder(encoder, pooling), zoo)


def test_networks_that_are_not_finite(raises_saying):
    zoo = make_zoo({SMALL: 3})
    zoo.params[0][1] = torch.nan
    with raises_saying(asked="zoo of 3 networks", found="NaN", do="select"):
        embed(make_encoder(), zoo)


def test_errors_leave_the_encoder_as_it_was():
    class Failing(nn.Module):
        dims = GraphDims.of(TEMPLATES)

        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def embed(self, graphs):
            raise ZeroDivisionError

    encoder = Failing().train()
    with pytest.raises(ZeroDivisionError):
        embed(encoder, make_zoo())
    assert encoder.training
