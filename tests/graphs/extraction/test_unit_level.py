"""Unit graphs compute what their networks do, and have the edges that derivatives show."""

import random

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import (
    NetworkGraph,
    TracedNetwork,
    extract_graph,
    run_graph,
    to_scipy,
)
from tests.graphs.convolutional import CASES
from tests.graphs.tracing.test_pieces import random_module

OF_A_BATCH = "batch norm without statistics"
FOLLOWED = [name for name in CASES if name not in (OF_A_BATCH, "ResNet-18")]
TOLERANCE = 1e-9


def largest_difference(graph: NetworkGraph, module: nn.Module, *inputs: Tensor) -> float:
    """Between what a graph and its module put out."""
    with torch.no_grad():
        outputs = module(*inputs)
    outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    found = run_graph(graph, *inputs)
    pairs = zip(outputs, found, strict=True)
    return max(float(np.abs(own.numpy() - array).max()) for own, array in pairs)


@pytest.mark.parametrize("name", FOLLOWED)
def test_the_graph_runs_as_the_module_does(name):
    module, inputs = CASES[name].module(), CASES[name].inputs()
    network = TracedNetwork(module, inputs)
    graph = network.graph("unit")
    assert largest_difference(graph, module, *inputs) < TOLERANCE
    assert (graph.num_nodes, graph.num_edges) == (
        network.size("unit").num_nodes,
        network.size("unit").num_edges,
    )


@pytest.mark.slow
def test_a_resnet_runs_along_its_edges():
    module, inputs = CASES["ResNet-18"].module(), CASES["ResNet-18"].inputs()
    assert largest_difference(extract_graph(module, inputs), module, *inputs) < TOLERANCE


def is_right(seed: int) -> bool:
    """Whether a random module runs along its edges; False where the one error refuses it."""
    module, inputs = random_module(seed)
    module, inputs = module.double().eval(), inputs[:1].double()
    try:
        graph = extract_graph(module, inputs)
    except NNGraphsError:
        return False
    assert largest_difference(graph, module, inputs) < TOLERANCE
    return True


def test_random_modules_run_along_their_edges():
    assert sum(is_right(seed) for seed in range(15)) > 11


@pytest.mark.slow
@pytest.mark.parametrize("first", range(15, 1015, 100))
def test_many_random_modules_run_along_their_edges_or_are_refused(first):
    assert sum(is_right(seed) for seed in range(first, first + 100)) > 80


def jacobian(module: nn.Module, inputs: Tensor) -> np.ndarray:
    """`[outputs, inputs]`, the derivatives for one sample."""
    found = torch.autograd.functional.jacobian(module, inputs)
    return found.reshape(-1, inputs.numel()).numpy()


def random_convolution(seed: int) -> tuple[nn.Module, Tensor]:
    """A convolution of any settings, on an image that is no square."""
    draw = random.Random(seed)
    groups, is_transposed = draw.choice((1, 1, 2, 3)), draw.random() < 0.3
    fan_in, width = groups * draw.randint(1, 2), groups * draw.randint(1, 2)
    kernel, stride = ((draw.randint(1, 3), draw.randint(1, 3)) for _ in range(2))
    padding = (draw.randint(0, 2), draw.randint(0, 2))
    dilation = (draw.randint(1, 2), draw.randint(1, 2))
    layer = nn.ConvTranspose2d if is_transposed else nn.Conv2d
    torch.manual_seed(seed)
    module = layer(
        fan_in, width, kernel, stride, padding, groups=groups, dilation=dilation
    ).double()
    return module, torch.randn(1, fan_in, draw.randint(6, 8), draw.randint(6, 9)).double()


@pytest.mark.parametrize("seed", range(40))
def test_a_convolutions_edges_are_its_derivatives(seed):
    module, inputs = random_convolution(seed)
    graph = extract_graph(module, inputs)
    expected = jacobian(module, inputs)
    dense = to_scipy(graph)[: inputs.numel(), inputs.numel() :].toarray().T
    assert np.count_nonzero(expected) == graph.num_edges
    np.testing.assert_allclose(dense, expected, rtol=0, atol=1e-14)


def random_network(seed: int) -> tuple[nn.Module, Tensor]:
    """Two convolutions with smooth activations, pooling between them, and a linear map."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    padding, stride = draw.randint(0, 1), draw.randint(1, 2)
    pool = draw.choice((nn.AvgPool2d(2), nn.Identity(), nn.AdaptiveAvgPool2d((2, 3))))
    layers = [
        nn.Conv2d(2, 3, 3, stride, padding, dilation=draw.randint(1, 2)),
        *(nn.Sigmoid(), pool, nn.Conv2d(3, 2, 2), nn.Tanh(), nn.Flatten()),
    ]
    inputs = torch.randn(1, 2, 11, 12).double()
    body = nn.Sequential(*layers).double()
    head = nn.Linear(body(inputs).shape[1], 2).double()
    head.weight.data[:, ::2] = 0
    return nn.Sequential(body, head), inputs


@pytest.mark.parametrize("seed", range(12))
def test_outputs_are_reached_from_the_inputs_that_they_depend_on(seed):
    module, inputs = random_network(seed)
    graph = extract_graph(module, inputs)
    step = to_scipy(graph, values="count").astype(bool).T
    reached = sparse.csr_array(
        sparse.eye_array(graph.num_nodes, inputs.numel(), dtype=bool, format="csr")
    )
    total = reached
    for _ in graph.layers:
        reached = (step @ reached).astype(bool)
        total = (total + reached).astype(bool)
    outputs = np.nonzero(graph.is_output())[0]
    expected = jacobian(module, inputs) != 0
    np.testing.assert_array_equal(total.toarray()[outputs], expected)


def test_sizes_of_the_published_measurements():
    mlp = nn.Sequential(
        *(nn.Linear(784, 1000), nn.ReLU(), nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 10))
    )
    size = TracedNetwork(mlp, torch.zeros(1, 784)).size("unit")
    assert (size.num_nodes, size.num_edges) == (2794, 1_794_000)
    cnn = nn.Sequential(
        *(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, 2), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(1152, 10)),
    )
    size = TracedNetwork(cnn, torch.zeros(1, 3, 32, 32)).size("unit")
    assert (size.num_nodes, size.num_edges) == (24_906, 1_635_264)


def test_edges_lead_to_later_layers_and_are_ordered_by_them():
    module, inputs = CASES["DenseNet"].module(), CASES["DenseNet"].inputs()
    graph = extract_graph(module, inputs)
    layers = graph.layer_id()
    assert (layers[graph.source] < layers[graph.target]).all()
    assert (np.diff(layers[graph.target]) >= 0).all()
    for own in graph.ranges:
        assert {*layers[graph.source[own.start : own.stop]]} <= {own.source_layer}
        assert {*layers[graph.target[own.start : own.stop]]} <= {own.target_layer}


@pytest.mark.parametrize("size", [1, 3, 17])
def test_the_size_of_a_batch_does_not_matter(size):
    module = CASES["U-Net"].module()
    inputs = CASES["U-Net"].inputs()[0][:1]
    one = extract_graph(module, inputs)
    many = extract_graph(module, inputs.expand(size, -1, -1, -1))
    for name in ("source", "target", "weight", "parameter_id"):
        np.testing.assert_array_equal(getattr(one, name), getattr(many, name))


def test_samples_that_are_none_are_kept_when_asked():
    module = nn.Conv2d(2, 3, 3)
    graph = extract_graph(module, torch.zeros(2, 5, 6), is_batched=False)
    batched = extract_graph(module, torch.zeros(1, 2, 5, 6))
    np.testing.assert_array_equal(graph.source, batched.source)
    np.testing.assert_array_equal(graph.target, batched.target)


class Shared(nn.Module):
    """One layer that is applied twice, with a skip around it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(values))) + values


def test_edges_of_shared_weights_have_one_id():
    graph = extract_graph(Shared(), torch.zeros(1, 4))
    first, second, skip = (slice(own.start, own.stop) for own in graph.ranges)
    np.testing.assert_array_equal(graph.parameter_id[first], graph.parameter_id[second])
    assert sorted(graph.parameter_id[first]) == list(range(16))
    assert (graph.parameter_id[skip] == -1).all()
    assert (graph.weight[skip] == 1).all()


def test_nodes_and_edges_have_their_parameters():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 3, (2, 3)), nn.ReLU())
    graph = extract_graph(module, torch.zeros(1, 2, 4, 5))
    kernel, bias = module[0].weight.detach().numpy(), module[0].bias.detach().numpy()
    assert [layer.name for layer in graph.layers] == ["input", "0"]
    outputs = graph.layers[1].node_ids()[0]
    np.testing.assert_array_equal(
        graph.bias()[outputs], np.broadcast_to(bias[:, None, None], (3, 3, 3))
    )
    slot = graph.parameters.slot("0.weight")
    np.testing.assert_array_equal(
        graph.weight, kernel.reshape(-1)[graph.parameter_id - slot.offset]
    )
    np.testing.assert_array_equal(graph.kernel_position(), (graph.parameter_id - slot.offset) % 6)
    ids = graph.bias_id()[outputs] - graph.parameters.slot("0.bias").offset
    np.testing.assert_array_equal(ids[:, 0, 0], [0, 1, 2])
    assert {layer.activation.name for layer in graph.layers[1:]} == {"relu"}
    places = (
        np.unravel_index(graph.source, (2, 4, 5)),
        np.unravel_index(graph.target - graph.layers[1].start, (3, 3, 3)),
    )
    rows = places[0][1] - places[1][1], places[0][2] - places[1][2]
    np.testing.assert_array_equal(rows[0] * 3 + rows[1], graph.kernel_position())


@pytest.mark.parametrize("name", ["Attention", "LSTM"])
def test_what_does_not_tell_its_places_is_refused_with_a_level_that_fits(name):
    module = nn.LSTM(3, 4, batch_first=True) if name == "LSTM" else SelfAttention()
    network = TracedNetwork(module, torch.zeros(1, 5, 3))
    with pytest.raises(NNGraphsError, match=r"place by place.*'neuron'"):
        network.graph("unit")
    assert network.graph("neuron").num_edges > 0


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(3, 3) for _ in range(3))

    def forward(self, values: Tensor) -> Tensor:
        query, key, value = (own(values) for own in self.maps)
        return torch.nn.functional.scaled_dot_product_attention(query, key, value)


def test_a_norm_over_the_batch_is_refused():
    module, inputs = CASES[OF_A_BATCH].module(), CASES[OF_A_BATCH].inputs()
    with pytest.raises(NNGraphsError, match="no running statistics"):
        extract_graph(module, inputs)
