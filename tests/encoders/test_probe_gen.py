"""ProbeGen: its answers are those of the networks, whatever form these come in."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.testing import assert_close

from nn_graphs.encoders.features import InputSettings, ProbeFeatures
from nn_graphs.encoders.probe_gen import ProbeGen
from nn_graphs.encoders.probe_generators import (
    CODE_DIM,
    FreeImages,
    GeneratedImages,
    GeneratedPoints,
)
from nn_graphs.encoders.probe_responses import Respondents
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.symmetry import ALL_KINDS
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_layers
from nn_graphs.testing import assert_batch_independent, assert_invariant
from tests.encoders.cases import SINE, TEMPLATES, inr, networks

INRS = [make() for make in TEMPLATES.values()]  # 2 inputs and 2 outputs each
PARK = [
    wild_park_spec((2, 3, 4), (3, 1), activations=("relu", "tanh"), num_outputs=3),
    wild_park_spec(
        (2, 4, 4, 2),
        (1, 3, 3),
        activations=("gelu", "relu", "tanh"),
        num_outputs=3,
        residuals=(-1, 0, -1),
    ),
]
CNNS = [template_from_spec(spec) for spec in PARK]
SIZE = 6


def make_model(templates: list[GraphTemplate] = INRS, **options) -> ProbeGen:
    torch.manual_seed(0)
    options = {"num_probes": 9, "hidden_dims": (7,), "image_size": SIZE, "out_dim": 4} | options
    return ProbeGen(templates, **options).double().eval()


def mild(template: GraphTemplate, count: int) -> Tensor:
    """Networks whose outputs a rounding error does not change much."""
    return networks(template, count) / 10


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize(
    ("num_probes", "probes", "expected"),
    [(64, "deep_linear", 285_548), (128, "deep_linear", 303_980), (64, "free", 282_506)],
)
def test_published_sizes_for_inrs(num_probes, probes, expected):
    model = ProbeGen([inr(2, 32, 32, 1)], num_probes=num_probes, probes=probes, out_dim=10)
    assert count(model) == expected
    assert model.num_queries == num_probes
    assert f"num_queries={num_probes}" in repr(model)


@pytest.mark.parametrize(
    ("channels", "num_probes", "num_extra", "probes", "expected"),
    [
        (1, 64, 1, "deep_linear", 676_770),
        (1, 128, 1, "deep_linear", 842_658),
        (1, 64, 0, "free", 493_057),
        (3, 64, 0, "deep_linear", 667_812),
        (3, 128, 0, "deep_linear", 833_700),
        (3, 128, 0, "free", 984_577),
    ],
)
def test_published_sizes_for_cnns(channels, num_probes, num_extra, probes, expected):
    template = template_from_spec(small_cnn_zoo_spec(in_channels=channels))
    model = ProbeGen(
        [template], num_probes=num_probes, num_extra=num_extra, probes=probes, out_dim=1
    )
    assert count(model) == expected
    assert model.generator().shape == (num_probes, channels, 32, 32)
    assert model.generator().abs().max() <= 1


@pytest.mark.parametrize("size", [4, 8, 15, 28, 32, 40])
def test_images_of_any_size(size):
    images = GeneratedImages(2, 1, size)()
    assert images.shape == (2, 1, size, size)
    assert images.std() > 0
    assert FreeImages(2, 1, size)().shape == images.shape


def test_points_are_a_linear_map_of_their_codes():
    points = GeneratedPoints(5, 2)
    first, second = points.maps
    matrix = second.weight @ first.weight
    expected = points.codes @ matrix.T + second(first.bias)
    assert points.codes.shape == (5, CODE_DIM)
    assert_close(points(), expected)


def test_outputs_at_the_points_go_through_an_mlp():
    spec = NetworkSpec.mlp((2, 5, 4, 2), activation=SINE, offset=0.5)
    model, params = make_model(), networks(INRS[0], 6)
    outputs = stacked_layers(spec, params, model.generator())[-1]  # [6, 9, 2]
    expected = model.mlp(outputs.transpose(1, 2).flatten(1))
    assert_close(model(INRS[0].stack(params)), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("number", [0, 1])
def test_answers_to_images_are_those_of_the_networks(number):
    template, params = CNNS[number], networks(CNNS[number], 3)
    images = torch.randn(5, 2, SIZE, SIZE, dtype=torch.float64)
    found = Respondents(CNNS).responses(template.stack(params), images)
    layers = stacked_layers(PARK[number], params, images)
    means = [layer.flatten(3).mean(-1) if layer.ndim > 3 else layer for layer in layers]
    expected = torch.cat(means, dim=2).transpose(1, 2)
    assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("hidden_read_dim", [0, 3])
def test_batches_of_several_architectures_of_cnns(hidden_read_dim):
    model, mixed = make_model(CNNS, hidden_read_dim=hidden_read_dim), MixedTemplates(CNNS)
    params = [networks(template, 2) for template in CNNS]
    kinds = torch.tensor([0, 1, 1, 0])
    batch = mixed.batch(kinds, [params[0][0], params[1][0], params[1][1], params[0][1]])
    found = model(batch)
    for number, (kind, place) in enumerate([(0, 0), (1, 0), (1, 1), (0, 1)]):
        alone = model(CNNS[kind].stack(params[kind][place : place + 1]))
        assert_close(found[number : number + 1], alone, rtol=1e-9, atol=1e-9)


def test_a_batch_that_does_not_tell_its_architectures(raises_saying):
    model = make_model(CNNS[:1])
    stack = CNNS[0].stack(networks(CNNS[0], 3))
    assert_close(model(stack.to_batch()), model(stack), rtol=1e-9, atol=1e-9)
    with raises_saying(asked="architectures", found="template_id", do="MixedTemplates"):
        make_model(CNNS)(stack.to_batch())


@pytest.mark.parametrize("hidden_read_dim", [0, 3])
@pytest.mark.parametrize("template", [*INRS[:3], CNNS[0]], ids=["inr", "skipping", "small", "cnn"])
def test_no_symmetry_changes_the_outputs(template, hidden_read_dim):
    templates = INRS if template in INRS else CNNS
    model = make_model(templates, hidden_read_dim=hidden_read_dim)
    generator = torch.Generator().manual_seed(5)
    assert_invariant(model, template, mild(template, 3), kinds=ALL_KINDS, generator=generator)


@pytest.mark.parametrize("hidden_read_dim", [0, 3])
def test_a_network_does_not_see_its_batch(hidden_read_dim):
    model = make_model(hidden_read_dim=hidden_read_dim)
    assert_batch_independent(model, [template.stack(mild(template, 2)) for template in INRS])


def test_hidden_answers_by_hand():
    """Absolute values of answers, through a net, the mean over a layer of sines."""
    model = make_model(INRS[:1], hidden_read_dim=3)
    spec = NetworkSpec.mlp((2, 5, 4, 2), activation=SINE, offset=0.5)
    params = networks(INRS[0], 2)
    _, *hidden, outputs = stacked_layers(spec, params, model.generator())
    read = [outputs.transpose(1, 2).flatten(1)]
    read += [model.hidden_net.net(h.transpose(1, 2).abs()).mean(1) for h in hidden]
    expected = model.mlp(torch.cat(read, dim=-1))
    assert_close(model(INRS[0].stack(params)), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("templates", [INRS[:1], CNNS[:1]], ids=["points", "images"])
def test_gradients_reach_the_generator_and_not_the_networks(templates):
    model = make_model(templates, hidden_read_dim=3, hidden_dims=(16,))
    stack = templates[0].stack(networks(templates[0], 6))
    model(stack).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    assert stack.edge_features.grad is None


def test_graph_encoders_take_generated_probes():
    """In place of free points: the same features at the same points."""
    torch.manual_seed(0)
    dims = GraphDims.of(INRS[:1])
    free = ProbeFeatures(dims, num_probes=6, out_dim=4)
    generated = ProbeFeatures(dims, num_probes=6, out_dim=4, form=InputSettings().probes)
    assert generated.queries() is generated.probes
    generated = ProbeFeatures(dims, num_probes=6, out_dim=4, form="deep_linear")
    generated.projections.load_state_dict(free.projections.state_dict())
    with torch.no_grad():
        free.probes.copy_(generated.queries())
    stack = INRS[0].stack(networks(INRS[0], 3).float())
    assert_close(generated(stack), free(stack))
    generated(stack).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in generated.generator.parameters())


def test_networks_that_cannot_be_run(raises_saying):
    class Attentive(nn.Module):
        def __init__(self):
            super().__init__()
            self.maps = nn.Linear(4, 12)

        def forward(self, tokens: Tensor) -> Tensor:
            parts = self.maps(tokens).chunk(3, dim=-1)
            return F.scaled_dot_product_attention(*parts)

    template = trace(Attentive(), torch.randn(2, 3, 4))
    with raises_saying(asked="on probes", found="cannot be run", do="weights alone"):
        Respondents([template])
