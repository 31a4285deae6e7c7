"""Checkpoints of the public code put out here what they put out there.

There stand the plain twins of the benchmarks, whose tensors are given the public code's names by a
list written for this test alone.
"""

import re

import pytest
import torch
from benchmarks.published_cnns import (
    PublishedCNNGNN,
    PublishedCNNTransformer,
    dense_sample,
)
from benchmarks.published_features import as_tensors
from benchmarks.published_gnn import PublishedGNN
from benchmarks.published_transformer import PublishedTransformer
from omegaconf import OmegaConf
from torch import Tensor, nn
from torch_geometric.data import Batch

from nn_graphs.encoders.public_checkpoints import PublicCheckpoint, read_public_checkpoint
from nn_graphs.encoders.public_code import model_from_public_code
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.networks.cnn import wild_park_spec
from tests.encoders.cases import inr, networks, randomise

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUT = (2, 8, 8, 3)
TEMPLATE = inr(*LAYOUT)
STATS = {
    "weights_mean": [0.1, -0.2, 0.05],
    "weights_std": [0.5, 0.3, 0.4],
    "biases_mean": [0.02, 0.0, -0.1],
    "biases_std": [0.2, 0.3, 0.6],
}
PUBLIC_NAMES = [
    (r"features\.positions", "construct_graph.pos_embed"),
    (r"features\.(weight|bias)_embedding\.0\.frequencies", r"construct_graph.proj_\1.0.b"),
    (r"features\.(weight|bias)_embedding\.1", r"construct_graph.proj_\1.1"),
    (r"features\.(node|edge)_in", r"construct_graph.proj_\1_in"),
    (r"features\.activation_embedding", "construct_graph.act_emb.embedding"),
    (r"convolutions\.(\d)\.aggr_module", r"gnn.convs.\1.aggr_module"),
    (r"convolutions\.(\d)\.modulation", r"gnn.convs.\1.edge_encoder"),
    (r"convolutions\.(\d)\.message_in", r"gnn.convs.\1.pre_nns.0.0"),
    (r"convolutions\.(\d)\.update_in", r"gnn.convs.\1.post_nns.0.0"),
    (r"convolutions\.(\d)\.out", r"gnn.convs.\1.lin"),
    (r"norms", "gnn.norms"),
    (r"edge_updates\.(\d)\.from_edge", r"gnn.edge_update.\1.lin_e"),
    (r"edge_updates\.(\d)\.from_source", r"gnn.edge_update.\1.lin_s"),
    (r"edge_updates\.(\d)\.from_target", r"gnn.edge_update.\1.lin_t"),
    (r"edge_updates\.(\d)\.out", r"gnn.edge_update.\1.lin1"),
    (r"layers\.(\d)\.attention\.from_(node|edge)", r"layers.\1.self_attn.qkv_\2"),
    (r"layers\.(\d)\.attention\.out", r"layers.\1.self_attn.proj_out"),
    (r"layers\.(\d)\.attended", r"layers.\1.lin0"),
    (r"layers\.(\d)\.feed_forward", r"layers.\1.node_mlp"),
    (r"layers\.(\d)\.norms\.", r"layers.\1.node_ln"),
    (r"layers\.(\d)\.edge_update\.from_edges", r"layers.\1.edge_updates.edge_mlp0.lin0_e"),
    (r"layers\.(\d)\.edge_update\.from_target", r"layers.\1.edge_updates.edge_mlp0.lin0_s"),
    (r"layers\.(\d)\.edge_update\.from_source", r"layers.\1.edge_updates.edge_mlp0.lin0_t"),
    (r"layers\.(\d)\.edge_update\.mixed", r"layers.\1.edge_updates.edge_mlp0.lin1"),
    (r"layers\.(\d)\.edge_update\.feed_forward", r"layers.\1.edge_updates.edge_mlp1"),
    (r"layers\.(\d)\.edge_update\.norms\.", r"layers.\1.edge_updates.eln"),
    (r"head", "proj_out"),
]


def public_state(twin: nn.Module) -> dict[str, Tensor]:
    """The twin's tensors as the public code calls them; statistics are no tensors there."""
    state = {}
    for name, value in twin.state_dict().items():
        if re.search(r"features\.(bias|weight)_(mean|std)$", name):
            continue
        for pattern, public in PUBLIC_NAMES:
            if re.match(pattern, name):
                state[re.sub(pattern, public, name, count=1)] = value
                break
        else:
            raise AssertionError(name)
    return state


def with_statistics(twin: nn.Module) -> nn.Module:
    for kind, key in (("weight", "weights"), ("bias", "biases")):
        for name, first in (("mean", 0.0), ("std", 1.0)):
            buffer = getattr(twin.features, f"{kind}_{name}")
            buffer.copy_(torch.tensor([first, *STATS[f"{key}_{name}"]]))
    return twin


def gnn_twin(**options) -> PublishedGNN:
    """With the public code's norm over the batch, its deviation and its degrees."""
    torch.manual_seed(0)
    twin = PublishedGNN(LAYOUT, dim=16, out_dim=5, norm_sees_batch=True, **options)
    randomise(twin)
    for convolution in twin.convolutions:
        convolution.aggr_module.avg_deg_log.fill_(1.3)  # of forward edges, as it says
    return with_statistics(twin).eval()


def transformer_twin() -> PublishedTransformer:
    torch.manual_seed(0)
    twin = PublishedTransformer(LAYOUT, attention_dim=32, num_heads=4, out_dim=5)
    randomise(twin)
    return with_statistics(twin).eval()


def file_of(twin: nn.Module, folder, **model) -> str:
    """As the public code saves it: with an optimizer, and a configuration of OmegaConf."""
    config = {
        "model": {"n_heads": 4, "pooling_method": "cat", "dropout": 0.2, "d_out": "${data.n}"}
        | model,
        "data": {"stats": STATS, "n": 5},
    }
    path = folder / "best_val.ckpt"
    content = {"model": public_state(twin), "optimizer": {"state": {}}, "epoch": 3}
    torch.save(content | {"cfg": OmegaConf.create(config), "global_step": 7}, path)
    return path


def relative_error(found: Tensor, expected: Tensor) -> float:
    assert expected.std(dim=0).mean() > 1e-3 * expected.abs().max()  # networks are told apart
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("make", [gnn_twin, transformer_twin])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_outputs_are_those_of_the_original(make, dtype, tmp_path):
    twin = make().to(dtype)
    model = model_from_public_code(file_of(twin, tmp_path), [TEMPLATE])
    graphs = TEMPLATE.stack(networks(TEMPLATE, 6).to(dtype))
    with torch.no_grad():
        expected, found = twin(*as_tensors(graphs)), model(graphs)
    assert found.dtype == dtype
    assert relative_error(found, expected) < (1e-6 if dtype == torch.float64 else 2e-5)


def test_the_form_of_the_norm_is_chosen(tmp_path):
    """With norms of graphs a prediction no longer depends on the other networks."""
    twin = gnn_twin().double()
    path = file_of(twin, tmp_path)
    graphs = TEMPLATE.stack(networks(TEMPLATE, 6))
    published = model_from_public_code(path, [TEMPLATE])
    own = model_from_public_code(path, [TEMPLATE], norm="graph")
    with torch.no_grad():
        first = TEMPLATE.stack(graphs.params[:2])
        torch.testing.assert_close(own(first), own(graphs)[:2])
        assert (published(first) - published(graphs)[:2]).abs().max() > 1e-4
        twin.norm_sees_batch = False
        assert relative_error(own(graphs), twin(*as_tensors(graphs))) < 1e-6


def test_statistics_may_be_given(tmp_path):
    twin = gnn_twin().double()
    state = public_state(twin)
    values = [
        torch.tensor([first, *STATS[f"{key}_{name}"]])
        for key in ("biases", "weights")
        for name, first in (("mean", 0.0), ("std", 1.0))
    ]
    statistics = WeightStatistics(*values)
    model = model_from_public_code(PublicCheckpoint(state), [TEMPLATE], statistics=statistics)
    graphs = TEMPLATE.stack(networks(TEMPLATE, 4))
    with torch.no_grad():
        assert relative_error(model(graphs), twin(*as_tensors(graphs))) < 1e-6
        without = model_from_public_code(PublicCheckpoint(state), [TEMPLATE])
        assert relative_error(without(graphs), twin(*as_tensors(graphs))) > 1e-3


def cnn_templates() -> list:
    """Two architectures with kernels of one size, so that both fill the table of positions."""
    specs = [
        wild_park_spec((3, 4, 3), (3, 3), activations=("relu", "tanh"), num_outputs=2),
        wild_park_spec((3, 3, 4), (3, 1), activations=("gelu", "sigmoid"), num_outputs=2),
    ]
    return [template_from_spec(spec) for spec in specs]


def test_gnns_of_convolutional_networks():
    templates = cnn_templates()
    dims = GraphDims.of(templates)
    torch.manual_seed(0)
    degrees = torch.tensor([3, 0, 2, 4])
    twin = PublishedCNNGNN(dims, degrees, dim=8)
    randomise(twin)
    twin.double().eval()
    assert_cnns_agree(twin, templates, tolerance=1e-6, norm="graph")


def test_transformers_of_convolutional_networks():
    templates = cnn_templates()[:1]  # of one size: the public code attends to padding
    torch.manual_seed(0)
    twin = PublishedCNNTransformer(
        GraphDims.of(templates),
        node_dim=8,
        edge_dim=6,
        attention_dim=8,
        node_hidden_dim=10,
        edge_hidden_dim=12,
        num_layers=3,
        num_heads=2,
    )
    randomise(twin)
    twin.double().eval()
    assert_cnns_agree(twin, templates, tolerance=1e-6, num_heads=2)


def assert_cnns_agree(twin: nn.Module, templates, *, tolerance: float, **options) -> None:
    kernel_size = GraphDims.of(templates).kernel_size
    params = [networks(template, 3).float() for template in templates]  # as samples have them
    pairs = [(t, row) for t, rows in zip(templates, params, strict=True) for row in rows]
    state = public_state(twin)
    model = model_from_public_code(PublicCheckpoint(state), templates, **options)
    samples = Batch.from_data_list([dense_sample(t, row, kernel_size) for t, row in pairs])
    samples = samples.apply(lambda x: x.double() if x.is_floating_point() else x)
    graphs = Batch.from_data_list([t.centred(t(row.double()), kernel_size) for t, row in pairs])
    with torch.no_grad():
        assert relative_error(model(graphs), twin(samples)) < tolerance


def test_what_the_file_says(tmp_path):
    found = read_public_checkpoint(file_of(gnn_twin(), tmp_path))
    assert found.setting("model.n_heads") == 4
    assert found.setting("data.stats.weights_std") == STATS["weights_std"]
    assert found.setting("model.d_out", 10) == 10  # a reference is no value
    assert found.setting("model.nothing.there") is None


@pytest.mark.parametrize(
    ("change", "found", "do"),
    [
        (
            lambda s: {"a.weight": torch.zeros(2)},
            "of no NG-GNN, NG-T or DWSNet",
            "one of these",
        ),
        (
            lambda s: s | {"construct_graph.proj_mlp_weight.0.b": torch.zeros(3, 1)},
            "linear_as_conv=False",
            "docs/public_code.md",
        ),
        (
            lambda s: {k: v for k, v in s.items() if "proj_bias" not in k},
            "has no proj_bias",
            "docs/public_code.md",
        ),
        (
            lambda s: s | {"gnn.norms.0.weight": torch.zeros(3)},
            "encoder.norms.0.weight: (3,) in the file, (16,) here",
            "sizes must be the same",
        ),
        (
            lambda s: s | {"gnn.towers": torch.zeros(3)},
            "gnn.towers: (3,) in the file, nothing here",
            "sizes must be the same",
        ),
        (
            lambda s: {k: v for k, v in s.items() if k != "gnn.norms.0.weight"},
            "encoder.norms.0.weight: nothing in the file",
            "sizes must be the same",
        ),
    ],
)
def test_other_checkpoints(change, found, do, raises_saying):
    state = change(public_state(gnn_twin()))
    with raises_saying(asked="checkpoint of the public code", found=found, do=do):
        model_from_public_code(PublicCheckpoint(state), [TEMPLATE])


def test_other_architectures(raises_saying, tmp_path):
    path = file_of(gnn_twin(), tmp_path)
    with raises_saying(asked="2 layers", found="statistics of 3", do="architectures"):
        model_from_public_code(path, [inr(2, 8, 3)])
    state = PublicCheckpoint(public_state(gnn_twin()))
    with raises_saying(asked="fill", found="positions: (7, 16) in the file, (6, 16)", do="sizes"):
        model_from_public_code(state, [inr(2, 8, 3)])


def test_heads_that_nothing_tells(raises_saying):
    state = PublicCheckpoint(public_state(transformer_twin()))
    with raises_saying(asked="NG-T", found="how many heads", do="num_heads"):
        model_from_public_code(state, [TEMPLATE])
    assert model_from_public_code(state, [TEMPLATE], num_heads=4).encoder.node_dim == 64


def test_files_that_are_none(tmp_path, raises_saying):
    with raises_saying(asked="nothing.ckpt", found="there is no file", do="best_val.ckpt"):
        read_public_checkpoint(tmp_path / "nothing.ckpt")
    path = tmp_path / "text.ckpt"
    path.write_text("no checkpoint")
    with raises_saying(asked="text.ckpt", found="cannot read", do="state dict"):
        read_public_checkpoint(path)


def test_edges_are_pooled_otherwise_there(tmp_path, raises_saying):
    path = file_of(gnn_twin(), tmp_path, pooling_method="mean_edge")
    with raises_saying(asked="pooling", found="over all pairs", do="Train"):
        model_from_public_code(path, [TEMPLATE])
