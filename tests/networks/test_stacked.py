"""The stacked forward of N networks equals each network's own torch module."""

import pytest
import torch

from nn_graphs.networks.activations import ACTIVATIONS, Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import ConvSpec, LayerSpec, NetworkSpec
from nn_graphs.networks.stacked import stacked_forward, stacked_layers
from tests.processes import assert_runs_in_own_process

RELU = Activation("relu")
SPECS = {
    **{name: NetworkSpec.mlp((3, 5, 4, 2), activation=Activation(name)) for name in ACTIVATIONS},
    "siren": NetworkSpec.mlp((3, 5, 4, 2), activation=Activation("sine", 30.0), offset=0.5),
    "slope": NetworkSpec.mlp((3, 5, 2), activation=Activation("leaky_relu", 0.3)),
    "skips of equal widths": NetworkSpec(
        3, (LayerSpec(4, RELU), LayerSpec(4, RELU, skips=(1,)), LayerSpec(4, RELU, skips=(1, 2)))
    ),
    "skip to a wider layer": NetworkSpec(
        3, (LayerSpec(2, RELU), LayerSpec(5, RELU, skips=(0, 1)), LayerSpec(1))
    ),
    "skip to a narrower layer": NetworkSpec(
        3, (LayerSpec(5, RELU), LayerSpec(4), LayerSpec(2, skips=(0, 1)))
    ),
    "no bias": NetworkSpec(3, (LayerSpec(4, RELU, has_bias=False), LayerSpec(2, has_bias=False))),
    "offset inside": NetworkSpec(3, (LayerSpec(4, RELU, offset=-0.25), LayerSpec(2, offset=0.5))),
    "one layer": NetworkSpec(3, (LayerSpec(2),)),
    "width 1": NetworkSpec(3, (LayerSpec(1, RELU), LayerSpec(1))),
}


def make_params(spec: NetworkSpec, num_networks: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_networks, spec.num_params, generator=generator, dtype=torch.float64)


def outputs_one_by_one(spec: NetworkSpec, params: torch.Tensor, inputs: torch.Tensor):
    module = spec.make_module().double()
    outputs = []
    for network, points in zip(params, inputs, strict=True):
        module.load_state_dict(spec.parameters.unflatten(network))
        outputs.append(module(points))
    return torch.stack(outputs)


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared inputs", "own inputs"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_stack_equals_modules(spec, is_shared):
    params = make_params(spec, 4)
    inputs = torch.randn(6, 3, dtype=torch.float64) if is_shared else torch.randn(4, 6, 3).double()
    expected = outputs_one_by_one(spec, params, inputs.expand(4, 6, 3))
    outputs = stacked_forward(spec, params, inputs)
    assert outputs.shape == expected.shape
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-10)


def test_layers_are_all_outputs_from_the_inputs_on():
    spec = SPECS["offset inside"]
    params, inputs = make_params(spec, 4), torch.randn(6, 3, dtype=torch.float64)
    layers = stacked_layers(spec, params, inputs)
    assert [tuple(layer.shape) for layer in layers] == [(4, 6, 3), (4, 6, 4), (4, 6, 2)]
    assert torch.equal(layers[0], inputs.expand(4, -1, -1))
    first = NetworkSpec(3, spec.layers[:1])
    expected = outputs_one_by_one(first, params[:, : first.num_params], layers[0])
    torch.testing.assert_close(layers[1], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(layers[-1], stacked_forward(spec, params, inputs))


def test_gradient_of_a_network_is_its_own():
    spec = SPECS["skip to a wider layer"]
    params, inputs = make_params(spec, 3).requires_grad_(), torch.randn(6, 3).double()
    stacked_forward(spec, params, inputs)[1].sum().backward()
    assert params.grad[[0, 2]].abs().max() == 0
    alone = params[1:2].detach().clone().requires_grad_()
    stacked_forward(spec, alone, inputs).sum().backward()
    torch.testing.assert_close(params.grad[1], alone.grad[0])


def test_parameters_of_another_architecture(raises_saying):
    params = make_params(SPECS["siren"], 2)
    with raises_saying(asked="2 tensors", found="long instead of", do="of this architecture"):
        stacked_forward(SPECS["one layer"], params, torch.randn(6, 3).double())


CONV = ConvSpec.square(3, padding=1)
CNNS = {
    "small cnn zoo": small_cnn_zoo_spec("tanh", in_channels=3),
    "wild park": wild_park_spec(
        (3, 4, 8, 2, 5),
        (3, 5, 7, 3),
        activations=("relu", "gelu", "leaky_relu", "sigmoid"),
        residuals=(-1, -1, 0, 1),
    ),
    "skips of the image": NetworkSpec.cnn(
        (3, 5, 2), convs=CONV, activations=RELU, skips=[(0,), (0, 1)], num_outputs=2
    ),
    "flattened": NetworkSpec.cnn(
        (3, 4, 2),
        convs=[ConvSpec((3, 2), (2, 1)), ConvSpec((1, 3), padding=(1, 0))],
        activations=RELU,
        num_outputs=3,
        num_places=117,
    ),
    "linear layers behind, no bias": NetworkSpec(
        3,
        (
            LayerSpec(4, RELU, has_bias=False, conv=CONV, offset=0.5),
            LayerSpec(5, RELU),
            LayerSpec(2, has_bias=False, skips=(2,)),
        ),
    ),
    "convolutions alone": NetworkSpec(3, (LayerSpec(4, RELU, conv=CONV), LayerSpec(2, conv=CONV))),
}


@pytest.mark.parametrize("is_shared", [True, False], ids=["shared images", "own images"])
@pytest.mark.parametrize("spec", CNNS.values(), ids=CNNS)
def test_stack_of_cnns_equals_modules(spec, is_shared):
    params = make_params(spec, 4) / 4
    shape = (6, 3, 16, 16) if is_shared else (4, 6, 3, 16, 16)
    images = torch.randn(shape, dtype=torch.float64)
    expected = outputs_one_by_one(spec, params, images.expand(4, 6, 3, 16, 16))
    outputs = stacked_forward(spec, params, images)
    assert outputs.shape == expected.shape
    torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-10)


def test_convolutions_over_one_and_three_axes():
    for num_axes in (1, 3):
        conv = ConvSpec((3,) * num_axes, (2,) * num_axes)
        spec = NetworkSpec.cnn((2, 3, 4), convs=conv, activations=RELU, num_outputs=2)
        params, inputs = make_params(spec, 3), torch.randn(5, 2, *[8] * num_axes).double()
        expected = outputs_one_by_one(spec, params, inputs.expand(3, *inputs.shape))
        torch.testing.assert_close(stacked_forward(spec, params, inputs), expected)


def test_layers_of_cnns():
    spec, images = CNNS["wild park"], torch.randn(6, 3, 16, 16).double()
    layers = stacked_layers(spec, make_params(spec, 4), images)
    shapes = [(4, 6, width, 16, 16) for width in (3, 4, 8, 2, 5)]
    assert [tuple(layer.shape) for layer in layers] == [*shapes, (4, 6, 10)]


def test_gradients_of_stacked_cnns():
    spec = CNNS["wild park"]
    params, images = make_params(spec, 3) / 4, torch.randn(2, 3, 16, 16).double()

    def loss(params):
        return stacked_forward(spec, params, images).square().sum()

    gradient = torch.func.grad(loss)(params)
    for network in range(3):
        alone = torch.func.grad(loss)(params[network : network + 1])
        torch.testing.assert_close(gradient[network : network + 1], alone)
    assert torch.autograd.gradcheck(loss, params[:1, :].clone().requires_grad_(), fast_mode=True)


def test_stacked_cnns_compile_as_one_graph():
    assert_runs_in_own_process(compile_it)


def compile_it() -> None:
    """Compiles the gradient without code generation, and compares."""
    spec, images = small_cnn_zoo_spec(), torch.randn(4, 1, 16, 16)
    params = make_params(spec, 3).float() / 4

    def gradient(params):
        return torch.func.grad(lambda p: stacked_forward(spec, p, images).square().sum())(params)

    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(params), gradient(params))


def test_inputs_without_places(raises_saying):
    spec = small_cnn_zoo_spec()
    with raises_saying(asked="over 2 axes", found="[6, 1]", do="*places"):
        stacked_forward(spec, make_params(spec, 2), torch.randn(6, 1).double())
