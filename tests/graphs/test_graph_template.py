"""Templates: parameters to graphs and back, and what they refuse."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import NetworkSpec
from tests.graphs.architectures import ARCHITECTURES, SPECS

SPEC = NetworkSpec.mlp((2, 4, 3, 1), activation=Activation("sine", 30.0), offset=0.5)
SPECIAL_VALUES = [0.0, -0.0, 1e-45, 3e38, -1e-20, 0.1]


@pytest.fixture(scope="module")
def template() -> GraphTemplate:
    return template_from_spec(SPEC)


@pytest.fixture(scope="module")
def tied() -> tuple[nn.Module, GraphTemplate]:
    """The second layer uses the first one's weight and bias; the third is its own."""
    module = ARCHITECTURES["tied parameters"].module()
    return module, trace(module, ARCHITECTURES["tied parameters"].example())


@pytest.fixture
def params(template) -> torch.Tensor:
    return torch.randn(5, template.num_params, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_round_trip_is_bit_for_bit(template, dtype):
    values = torch.tensor(SPECIAL_VALUES, dtype=dtype).repeat(template.num_params)
    params = values[: 2 * template.num_params].unflatten(0, (2, -1)).nan_to_num(posinf=1.0)
    bits = {torch.float16: torch.int16, torch.float32: torch.int32, torch.float64: torch.int64}
    for back in (
        template.invert(template.stack(params)),
        torch.stack([template.invert(template(row)) for row in params]),
        template.stack(params).params,
    ):
        assert back.dtype == dtype
        assert torch.equal(back.view(bits[dtype]), params.view(bits[dtype]))


def test_module_state_dict_and_vector_give_the_same_graph(template):
    module = SPEC.make_module()
    vector = template.parameters.flatten(module)
    for source in (module, module.state_dict(), dict(module.named_parameters()), vector):
        graph = template(source)
        assert torch.equal(template.invert(graph), vector)
        assert not graph.x.requires_grad


def test_a_stack_is_differentiable_both_ways(template, params):
    params = params.clone().requires_grad_()
    template.invert(template.stack(params)).square().sum().backward()
    torch.testing.assert_close(params.grad, 2 * params.detach())


def test_zero_weights_stay_edges(template):
    graph = template(torch.zeros(template.num_params))
    assert graph.num_edges == template.num_edges == 2 * 4 + 4 * 3 + 3
    assert graph.edge_features.shape == (template.num_edges, 1)
    assert (graph.edge_kind_id == 0).all()


def test_places_of_parameters(tied):
    _, template = tied
    places = {slot.name: [place.start for place in p] for slot, p in template.places.items()}
    assert places == {"a.weight": [0, 9], "a.bias": [3, 6], "c.weight": [18], "c.bias": [9]}
    assert template.is_shown.all()


def test_deltas_of_tied_weights_add_up(tied):
    module, template = tied
    params = template.parameters.flatten(module)
    graph = template(params)
    graph.edge_attr[0] += 1.0  # a.weight[0, 0], first place
    graph.edge_attr[9] += 10.0  # the same, second place
    graph.edge_attr[1] += 2.0  # a.weight[0, 1], first place only
    graph.edge_attr[18] += 5.0  # c.weight[0, 0], which is not tied
    graph.x[3] += 3.0  # a.bias[0]
    graph.x[6] += 30.0
    changes = template.parameters.unflatten(template.invert(graph, base=params) - params)
    expected = torch.zeros(3, 3).double()
    expected[0, :2] = torch.tensor([11.0, 2.0])
    torch.testing.assert_close(changes["a.weight"], expected)
    torch.testing.assert_close(changes["b.weight"], expected)
    torch.testing.assert_close(changes["a.bias"], torch.tensor([33.0, 0.0, 0.0]).double())
    torch.testing.assert_close(changes["c.weight"].flatten()[:2], torch.tensor([5.0, 0.0]).double())
    first_places = template.invert(graph) - params
    assert first_places[0] == pytest.approx(1.0)


def test_unedited_tied_weights_come_back_bit_for_bit(tied):
    module, template = tied
    params = template.parameters.flatten(module)
    assert torch.equal(template.invert(template(params), base=params), params)
    stack = params.repeat(2, 1)
    assert torch.equal(template.invert(template.stack(stack), base=stack), stack)


def test_parameters_that_no_place_shows_come_from_the_base():
    architecture = ARCHITECTURES["unused parameters"]
    module = architecture.module()
    template = trace(module, architecture.example())
    params = template.parameters.flatten(module)
    shown = template.is_shown
    assert shown.sum() == template.num_params - 1 - 28 - 7
    assert torch.equal(template.invert(template(params), base=params), params)
    assert torch.equal(template.invert(template(params), base=0 * params), params * shown)
    assert torch.equal(template.invert(template(params)), params)  # graphs carry them along


def test_constants_are_no_parameters():
    template = template_from_spec(SPECS["skip twice"])
    graph = template(torch.full((template.num_params,), 7.0))
    constants = graph.edge_features[graph.edge_kind_id == 1]
    assert (constants == 1).all()
    assert len(constants) == 6
    graph.edge_attr[graph.edge_kind_id == 1] = 100.0
    assert (template.invert(graph) == 7).all()


@pytest.mark.parametrize(
    ("position", "value", "name"),
    [(0, "nan", "layers.0.weight"), (8, "inf", "layers.0.bias"), (-1, "-inf", "layers.2.bias")],
)
def test_networks_that_diverged_are_refused(template, params, position, value, name, raises_saying):
    params[0, position] = float(value)
    with raises_saying(
        asked=f"make a neural graph of {template.num_params} parameters",
        found=f"1 are NaN or infinite, the first in {name}.",
        do="Leave out networks whose training diverged",
    ):
        template(params[0])


@pytest.mark.parametrize("shape", [(5,), (31,), (5, 31), (1, 5, 31), ()])
def test_vectors_of_another_length_are_refused(template, shape, raises_saying):
    shape = tuple(template.num_params + 1 if size == 31 else size for size in shape)
    refusal = {
        "asked": f"make neural graphs of {template.num_params} parameters each",
        "found": f"has the shape {list(shape)}",
        "do": "one flat vector, a module or a state dict; for many use template.stack",
    }
    with raises_saying(**refusal):
        template(torch.zeros(shape))
    if len(shape) == 2:
        with raises_saying(**refusal):
            template.stack(torch.zeros(shape))


def test_a_whole_zoo_is_no_single_network(template, params, raises_saying):
    with raises_saying(asked="each", found=f"{list(params.shape)}", do="use template.stack"):
        template(params)


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"layers.1.bias": None}, "1 do not fit, the first is layers.1.bias: nothing"),
        ({"layers.1.bias": torch.zeros(7)}, "layers.1.bias: [7] instead of [3]"),
        ({"layers.9.bias": torch.zeros(7)}, "layers.9.bias: not in the architecture"),
    ],
)
def test_state_dicts_of_other_architectures_are_refused(template, changed, found, raises_saying):
    state = {**SPEC.make_module().state_dict(), **changed}
    state = {name: value for name, value in state.items() if value is not None}
    with raises_saying(asked="read 6 tensors", found=found, do="a network of this architecture"):
        template(state)


def test_graphs_of_other_architectures_are_refused(template, params, raises_saying):
    other = template_from_spec(NetworkSpec.mlp((2, 5, 1), activation=Activation("relu")))
    graph = other(torch.zeros(other.num_params))
    with raises_saying(
        asked="from graphs of 10 nodes and 23 edges",
        found="there are [8, 1] node features and [15, 1] edge features.",
        do="architecture's own template",
    ):
        template.invert(graph)
    mixed = Batch.from_data_list([*template.stack(params), graph])
    with raises_saying(asked="stack 6 graphs", found="58 neurons", do="zoo of one architecture"):
        template.invert(mixed)
    wide = template.stack(params).with_features(torch.zeros(5, 10, 2), torch.zeros(5, 23, 1))
    with raises_saying(asked="one feature each", found="[5, 10, 2]", do="architecture's own"):
        template.invert(wide)


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_copies_and_pickles_make_the_same_graphs(template, params, duplicate):
    template.structure()
    other = duplicate(template)
    assert not other._cache
    assert (other.groups, other.blocks) == (template.groups, template.blocks)
    assert other.parameters == template.parameters
    assert other.symmetries == template.symmetries
    assert torch.equal(other.invert(other.stack(params)), params)
    for name, tensor in other.structure().tensors().items():
        assert torch.equal(tensor, template.structure().tensors()[name])


def test_structure_is_made_once(template):
    assert template.structure() is template.structure("cpu")
    assert template.topology() is template.topology(torch.device("cpu"))
    assert template.structure(dtype=torch.float16) is template.structure()
    assert template.structure(dtype=torch.float64) is not template.structure()


def test_constants_have_the_precision_of_the_weights():
    spec = NetworkSpec.mlp((2, 3, 1), activation=Activation("leaky_relu", 0.1), offset=0.3)
    template = template_from_spec(spec)
    params = torch.zeros(1, template.num_params)
    for dtype in (torch.float32, torch.float64):
        structure = template.stack(params.to(dtype)).structure
        assert structure.activation_parameter.dtype == structure.offset.dtype == dtype
        assert structure.activation_parameter[2] == torch.tensor(0.1, dtype=dtype)
        assert structure.offset[-1] == torch.tensor(0.3, dtype=dtype)


def test_counts(template):
    assert template.num_params == SPEC.num_params
    assert template.num_hidden_groups == 2
    assert [block.target for block in template.blocks_from(1)] == [2]
    assert template.blocks_from(3) == []


def test_the_representation_is_one_line():
    template = template_from_spec(NetworkSpec.mlp((2, 32, 32, 1), activation=Activation("relu")))
    expected = "GraphTemplate(2-32-32-1: 67 neurons, 1120 edges, 1185 parameters)"
    assert repr(template) == str(template) == expected
    stack = template.stack(torch.zeros(5, template.num_params))
    assert repr(stack) == "NeuralGraphStack(5 graphs of 2-32-32-1: 67 neurons, 1120 edges each)"


def test_of_many_groups_the_representation_shows_the_first_and_last():
    spec = NetworkSpec.mlp((1, 2, 3, 4, 5, 6, 7, 8), activation=Activation("relu"))
    assert template_from_spec(spec).widths == "1-2-3-4-5-6-7-8"
    spec = NetworkSpec.mlp((1, 2, 3, 4, 5, 6, 7, 8, 9), activation=Activation("relu"))
    assert template_from_spec(spec).widths == "1-2-3-4-5-6-...-8-9"


@pytest.mark.parametrize("name", ["INR", "skip twice"])
def test_the_representation_shows_no_tensor_before_or_after_use(name):
    template = template_from_spec(SPECS[name])
    before = repr(template)
    graphs = template.stack(torch.zeros(2, template.num_params))
    _ = graphs.topology, template.neuron_rules, template.is_shown
    assert repr(template) == before
    assert all("tensor" not in text and "\n" not in text for text in (before, repr(graphs)))
