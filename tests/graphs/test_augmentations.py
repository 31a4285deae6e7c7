"""Augmentations: the image moves as it should, noise is noise, and evaluation sees none of it."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.graphs.augmentations import (
    Augmentation,
    Compose,
    OfMixes,
    RandomSymmetries,
    Rotation,
    Scaling,
    Translation,
    WeightDropout,
    WeightNoise,
    transform_inputs,
)
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import network_outputs
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from nn_graphs.networks.stacked import stacked_forward
from tests.graphs.architectures import ARCHITECTURES

PRESET = inr_preset("dws")
SPEC = PRESET.make_spec((2, 12, 8, 1))
TEMPLATE = template_from_spec(SPEC)
RELU = Activation("relu")
COUNT = 40
ALL: dict[str, Augmentation] = {
    "noise": WeightNoise(share=0.1),
    "dropout": WeightDropout(rate=0.3),
    "translation": Translation(max_shift=0.25),
    "rotation": Rotation(max_degrees=45.0),
    "scaling": Scaling(max_change=0.2),
    "symmetries": RandomSymmetries(),
}


def inrs(count: int = COUNT, *, dtype: torch.dtype = torch.float64) -> NeuralGraphStack:
    """INRs with initial values of their kind, but with biases."""
    params = PRESET.initial_params(SPEC, start=0, stop=count, seed=0).to(dtype)
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(params.shape, generator=generator, dtype=dtype)
    return TEMPLATE.stack(params + 0.02 * noise)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def augmented(name: str, graphs: NeuralGraphStack, *, seed: int = 0) -> NeuralGraphStack:
    torch.manual_seed(seed)
    return ALL[name](graphs)


# Coordinates.


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("has_matrix", "has_shift"), [(1, 1), (1, 0), (0, 1), (0, 0)])
def test_outputs_are_those_at_the_transformed_points(dtype, has_matrix, has_shift):
    graphs = inrs(dtype=dtype)
    matrix = 2 * rand(COUNT, 2, 2).to(dtype) - 1
    shift = 2 * rand(COUNT, 2, seed=1).to(dtype) - 1
    before = graphs.params
    changed = transform_inputs(graphs, matrix if has_matrix else None, shift if has_shift else None)
    points = 2 * rand(30, 2, seed=2).to(dtype) - 1
    moved = points.expand(COUNT, -1, -1)
    if has_matrix:
        moved = moved @ matrix.transpose(1, 2)
    if has_shift:
        moved = moved + shift.unsqueeze(1)
    expected = stacked_forward(SPEC, before, moved)
    tolerance = 1e-10 if dtype == torch.float64 else 1e-5
    assert_close(network_outputs(changed, points), expected, rtol=0, atol=tolerance)
    assert torch.equal(graphs.params, before)  # the given networks stay as they are
    is_first = torch.zeros(SPEC.num_params, dtype=torch.bool)
    is_first[: 2 * 12 + 12] = True
    assert torch.equal(changed.params[:, ~is_first], before[:, ~is_first])


def image(graphs: NeuralGraphStack, size: int) -> Tensor:
    """What the INRs show, `[B, rows, columns]`."""
    points = PRESET.coordinates(size, size).double()
    return network_outputs(graphs, points).unflatten(1, (size, size)).squeeze(-1)


def test_the_image_moves():
    """By one pixel, by a quarter turn, by a mirror: what was a pixel is one again."""
    graphs, size = inrs(), 9
    pixel = 2 / (size - 1)
    before = image(graphs, size)
    shift = torch.tensor([pixel, 0.0]).double().expand(COUNT, -1)  # (column, row)
    after = image(transform_inputs(graphs, shift=shift), size)
    assert_close(after[:, :, :-1], before[:, :, 1:], rtol=0, atol=1e-9)
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double().expand(COUNT, -1, -1)
    after = image(transform_inputs(graphs, turn), size)
    assert_close(after, before.rot90(1, dims=(1, 2)), rtol=0, atol=1e-9)
    mirror = torch.tensor([[-1.0, 0.0], [0.0, 1.0]]).double().expand(COUNT, -1, -1)
    after = image(transform_inputs(graphs, mirror), size)
    assert_close(after, before.flip(2), rtol=0, atol=1e-9)


def map_of(name: str, graphs: NeuralGraphStack) -> tuple[Tensor, Tensor]:
    """The matrix and shift that an augmentation drew, read off the first layer."""
    changed = augmented(name, graphs)
    (before, bias), (after, new_bias) = (
        [TEMPLATE.parameters.unflatten(g.params)[f"layers.0.{k}"] for k in ("weight", "bias")]
        for g in (graphs, changed)
    )
    matrix = torch.linalg.lstsq(before, after).solution
    shift = torch.linalg.lstsq(before, (new_bias - bias).unsqueeze(-1)).solution
    return matrix, shift.squeeze(-1)


def test_what_is_drawn():
    """Within its bounds, to near them, and another for every network."""
    graphs = inrs(400)
    eye = torch.eye(2, dtype=torch.float64).expand(400, -1, -1)
    zero = torch.zeros(400, 2, dtype=torch.float64)
    matrix, shift = map_of("translation", graphs)
    assert_close(matrix, eye)
    assert 0.24 < shift.abs().max() <= 0.25
    assert shift.mean(0).abs().max() < 0.03
    assert (shift[:, 0] - shift[:, 1]).abs().min() > 1e-6
    matrix, shift = map_of("rotation", graphs)
    assert_close(shift, zero)
    assert_close(matrix @ matrix.transpose(1, 2), eye)
    degrees = torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0]).rad2deg()
    assert 44 < degrees.abs().max() <= 45
    assert degrees.mean().abs() < 5
    assert_close(matrix[:, 0, 1], -matrix[:, 1, 0])
    matrix, shift = map_of("scaling", graphs)
    assert_close(shift, zero)
    factor = matrix[:, 0, 0]
    assert_close(matrix, eye * factor.view(-1, 1, 1))
    assert 0.8 <= factor.min() < 0.81
    assert 1.19 < factor.max() <= 1.2


def make_template(*layers: LayerSpec, in_width: int = 2) -> GraphTemplate:
    return template_from_spec(NetworkSpec(in_width, layers))


def traced(name: str) -> GraphTemplate:
    architecture = ARCHITECTURES[name]
    return trace(architecture.module(), architecture.example())


@pytest.mark.parametrize(
    ("template", "name", "found"),
    [
        (
            make_template(LayerSpec(3, RELU), LayerSpec(1, skips=(0,))),
            "rotation",
            "a skip from the inputs",
        ),
        (
            make_template(LayerSpec(3, RELU, has_bias=False), LayerSpec(1)),
            "translation",
            "no bias beside layers.0.weight",
        ),
        (traced("tied parameters"), "scaling", "in several places"),
    ],
)
def test_inputs_that_cannot_be_moved(raises_saying, template, name, found):
    graphs = template.stack(torch.randn(2, template.num_params))
    with raises_saying(asked="transform the inputs", found=found, do="linear layers"):
        ALL[name](graphs)


def test_no_bias_is_needed_without_a_shift():
    template = make_template(LayerSpec(3, RELU, has_bias=False), LayerSpec(1))
    graphs, points = template.stack(torch.randn(4, template.num_params)), torch.randn(5, 2)
    half = torch.eye(2).expand(4, -1, -1) / 2
    changed = network_outputs(transform_inputs(graphs, half), points)
    assert_close(changed, network_outputs(graphs, points / 2))


def test_only_a_plane_is_rotated(raises_saying):
    template = make_template(LayerSpec(3, RELU), LayerSpec(1), in_width=3)
    graphs = template.stack(torch.randn(4, template.num_params))
    with raises_saying(asked="rotate", found="3 inputs", do="2 inputs"):
        ALL["rotation"](graphs)
    for name in ("translation", "scaling"):
        assert not torch.equal(ALL[name](graphs).params, graphs.params)


# Weights.


def test_noise_is_normal_in_every_weight():
    graphs = inrs(2000)
    change = TEMPLATE.parameters.unflatten(augmented("noise", graphs).params - graphs.params)
    for name, values in TEMPLATE.parameters.unflatten(graphs.params).items():
        if values[0].numel() == 1:
            assert (change[name] == 0).all()  # a single value has no deviation
            continue
        deviation = values.flatten(1).std(dim=1, correction=0)
        noise = change[name].flatten(1) / deviation.unsqueeze(1) / 0.1
        assert abs(noise.mean()) < 0.02
        assert abs(noise.std() - 1) < 0.02
        assert abs((noise.abs() < 1).double().mean() - 0.683) < 0.01
        correlation = torch.corrcoef(noise.T)  # the published noise: 1 between all weights
        assert (correlation - torch.eye(len(correlation))).abs().max() < 0.15


@pytest.mark.parametrize(("is_rescaled", "factor"), [(True, 1 / 0.7), (False, 1.0)])
def test_dropout_zeroes_single_weights(is_rescaled, factor):
    torch.manual_seed(0)
    graphs = inrs(500)
    changed = WeightDropout(rate=0.3, is_rescaled=is_rescaled)(graphs)
    is_zero = changed.params == 0
    assert_close(changed.params[~is_zero], factor * graphs.params[~is_zero], rtol=1e-12, atol=0)
    shares = is_zero.double().mean(0)  # of each weight, of each bias
    assert abs(shares.mean() - 0.3) < 0.01
    assert (shares - 0.3).abs().max() < 0.1


@pytest.mark.parametrize("name", ["noise", "dropout"])
def test_constants_and_ties_stay(name):
    layers = (LayerSpec(4, RELU, has_bias=False), LayerSpec(4, RELU, skips=(1,)), LayerSpec(1))
    template = template_from_spec(NetworkSpec(2, layers))
    graphs = template.stack(torch.randn(50, template.num_params))
    changed, structure = augmented(name, graphs), template.structure()
    assert (changed.edge_features[:, structure.edge_kind_id == 1] == 1).all()
    assert (changed.node_features[:, ~structure.has_bias] == 0).all()
    template = traced("tied and summed")
    changed = augmented(name, template.stack(torch.randn(50, template.num_params)))
    for places in template.places.values():
        values = [
            (changed.node_features if hasattr(place, "bias") else changed.edge_features)[
                :, place.start : place.stop
            ]
            for place in places
        ]
        assert all(torch.equal(values[0], other) for other in values)
    assert any(len(places) > 1 for places in template.places.values())


# Symmetries.


@pytest.mark.parametrize("kind", ["permutation", "sign", "phase"])
def test_symmetries_keep_the_function_and_change_the_parameters(kind):
    torch.manual_seed(0)
    graphs, points = inrs(), 2 * rand(30, 2) - 1
    changed = RandomSymmetries(kinds=[kind])(graphs)
    assert_close(network_outputs(changed, points), network_outputs(graphs, points))
    assert ((changed.params - graphs.params).abs().amax(1) > 1e-3).all()
    assert changed.node_features.dtype == torch.float64


def test_scales_of_relu_networks_are_bounded():
    torch.manual_seed(0)
    template = template_from_spec(NetworkSpec.mlp((2, 50, 1), activation=RELU))
    graphs = template.stack(torch.ones(20, template.num_params))
    changed = RandomSymmetries(kinds=["scale"], max_log_scale=0.5)(graphs)
    factors = template.parameters.unflatten(changed.params)["layers.0.bias"]
    assert 0.49 < factors.log().abs().max() <= 0.5 + 1e-6


# All of them.


@pytest.mark.parametrize("name", ALL)
def test_training_mode_alone_changes_networks(name):
    graphs = inrs()
    augmentation = ALL[name]
    try:
        assert augmentation.eval()(graphs) is graphs
        assert Compose([augmentation]).eval()(graphs) is graphs
    finally:
        augmentation.train()
    before = graphs.params.clone()
    changed = augmented(name, graphs)
    assert ((changed.params - before).abs().amax(1) > 1e-6).all()  # every network
    assert torch.equal(graphs.params, before)
    assert changed.template is graphs.template


@pytest.mark.parametrize("name", ALL)
def test_networks_are_changed_by_themselves_and_by_the_global_generator(name):
    graphs = inrs()
    alike = graphs.with_features(
        graphs.node_features[:1].expand(COUNT, -1, -1),
        graphs.edge_features[:1].expand(COUNT, -1, -1),
    )
    changed = augmented(name, alike).params
    assert len(changed.unique(dim=0)) == COUNT
    assert torch.equal(augmented(name, alike).params, changed)
    assert not torch.equal(augmented(name, alike, seed=1).params, changed)


@pytest.mark.parametrize("name", ALL)
def test_batches_of_torch_geometric_are_refused(raises_saying, name):
    batch = Batch.from_data_list(list(inrs(2)))
    with raises_saying(asked=type(ALL[name]).__name__, found="batch", do="OfMixes"):
        ALL[name](batch)


def mixed_batch() -> tuple[MixedTemplates, NeuralGraph, list[Tensor]]:
    """CNNs with relu and tanh, and one with other kernels."""
    specs = [small_cnn_zoo_spec("relu"), small_cnn_zoo_spec("tanh")]
    specs += [wild_park_spec((1, 3, 2), (5, 3), activations=("relu", "tanh"))]
    templates = MixedTemplates([template_from_spec(spec) for spec in specs])
    kinds = torch.tensor([1, 0, 2, 1])
    params = [torch.randn(templates.templates[kind].num_params) for kind in kinds.tolist()]
    return templates, templates.batch(kinds, params), params


@pytest.mark.parametrize(
    "augmentation",
    [WeightNoise(share=0.1), WeightDropout(rate=0.2), RandomSymmetries()],
    ids=lambda augmentation: type(augmentation).__name__,
)
def test_mixes_are_augmented_architecture_by_architecture(augmentation):
    templates, batch, params = mixed_batch()
    mixes = OfMixes(augmentation, templates)
    torch.manual_seed(0)
    changed = templates.params_of(mixes(batch))
    torch.manual_seed(0)
    for kind, numbers in enumerate(([1], [0, 3], [2])):
        stack = templates.templates[kind].stack(torch.stack([params[n] for n in numbers]))
        for number, expected in zip(numbers, augmentation(stack).params, strict=True):
            assert torch.equal(changed[number], expected)
            assert not torch.equal(changed[number], params[number])
    assert mixes.eval()(batch) is batch
    stack = templates.templates[0].stack(params[1].unsqueeze(0))
    assert mixes(stack) is stack
    assert not torch.equal(mixes.train()(stack).params, stack.params)


def test_symmetries_of_mixes_follow_each_activation():
    """Signs turn behind tanh, and not behind relu."""
    templates, batch, params = mixed_batch()
    changed = OfMixes(RandomSymmetries(kinds=("sign",)), templates)(batch)
    moved = templates.params_of(changed)
    assert torch.equal(moved[1], params[1])
    assert not torch.equal(moved[0], params[0])
    assert torch.equal(moved[0].abs(), params[0].abs())


def test_compose_goes_in_order():
    graphs = inrs()
    first, second = Translation(max_shift=0.25), Rotation(max_degrees=45.0)
    torch.manual_seed(0)
    expected = second(first(graphs)).params
    torch.manual_seed(0)
    assert torch.equal(Compose([first, second])(graphs).params, expected)
    torch.manual_seed(0)
    assert not torch.allclose(Compose([second, first])(graphs).params, expected)
    batch = Batch.from_data_list(list(graphs))
    assert Compose()(graphs) is graphs
    assert Compose()(batch) is batch


@pytest.mark.parametrize("value", [-0.1, 1.0, 1.5])
def test_strengths_that_make_no_sense(raises_saying, value):
    with raises_saying(asked="drop weights", found=f"rate is {value}", do="below 1"):
        WeightDropout(rate=value)
    with raises_saying(asked="scale", found=f"max_change is {value}", do="below 1"):
        Scaling(max_change=value)
