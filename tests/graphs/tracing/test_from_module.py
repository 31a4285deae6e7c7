"""Tracing: any module's graph holds its parameters and computes its function."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Batch

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.execution import execute, network_outputs
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.tracing import trace, traceable_operations
from nn_graphs.networks.activations import Activation
from tests.graphs.architectures import ARCHITECTURES, Architecture, Net, Sine, net
from tests.graphs.checks import assert_ordered
from tests.graphs.tracing.faithful import assert_faithful

EXACT = {"rtol": 1e-12, "atol": 1e-12}


APART = [name for name in ARCHITECTURES if not name.startswith("spec with")]
ACTIVATED = [name for name in ARCHITECTURES if name not in APART]


@pytest.fixture(scope="module", params=[*APART, "spec with sine"])
def architecture(request) -> Architecture:
    return ARCHITECTURES[request.param]


@pytest.fixture(scope="module")
def template(architecture) -> GraphTemplate:
    return trace(architecture.module(), architecture.example())


def test_inverting_gives_the_parameters_back(architecture, template):
    module = architecture.module(seed=1)
    params = template.parameters.flatten(module)
    assert torch.equal(template.invert(template(module), base=params), params)
    assert torch.equal(template.invert(template(module)), params)


def test_message_passing_gives_the_outputs(architecture, template):
    assert_gives_the_outputs(architecture, template)


@pytest.mark.parametrize("name", ACTIVATED)
def test_message_passing_gives_the_outputs_of_every_activation(name):
    architecture = ARCHITECTURES[name]
    template = trace(architecture.module(), architecture.example())
    assert_gives_the_outputs(architecture, template)


def assert_gives_the_outputs(architecture: Architecture, template: GraphTemplate) -> None:
    module = architecture.module(seed=1)
    graph = template(module)
    values = execute(graph, architecture.points())
    outputs = values[graph.kind_id == NeuronKind.OUTPUT.value].T
    torch.testing.assert_close(outputs, architecture.outputs(module), **EXACT)


def test_stack_batch_and_single_graphs_agree(architecture, template):
    modules = [architecture.module(seed) for seed in (1, 2)]
    params = torch.stack([template.parameters.flatten(module) for module in modules])
    stack, points = template.stack(params), architecture.points()
    batch = Batch.from_data_list(list(stack))
    together = execute(batch, points).unflatten(0, (2, -1))
    alone = torch.stack([execute(graph, points) for graph in stack])
    torch.testing.assert_close(execute(stack, points), alone, **EXACT)
    torch.testing.assert_close(together, alone, **EXACT)
    outputs = torch.stack([architecture.outputs(module) for module in modules])
    torch.testing.assert_close(network_outputs(stack, points), outputs, **EXACT)


def test_edges_run_forward_and_are_ordered_by_target(template):
    assert_ordered(template)


def test_constants_are_no_parameters(template):
    for params in (torch.zeros(template.num_params), torch.ones(template.num_params)):
        graph = template(params)
        is_constant = graph.edge_kind_id == 1
        weights = graph.edge_features[~is_constant]
        assert (weights == params[0]).all()
        if params[0] == 0:
            constants = graph.edge_features[is_constant]
        else:
            assert torch.equal(graph.edge_features[is_constant], constants)


@pytest.mark.parametrize("name", ["chain", "functional", "nested", "sum of many", "read twice"])
def test_another_order_of_evaluation_is_another_architecture(name):
    """Control: the outputs do depend on what execution is compared with."""
    architecture = ARCHITECTURES[name]
    template = trace(architecture.module(), architecture.example())
    outputs = network_outputs(
        template.stack(template.parameters.flatten(architecture.module())[None]),
        architecture.points(),
    )
    assert not torch.allclose(outputs[0], architecture.outputs(architecture.module(seed=1)))


def test_training_modes_are_restored():
    module = ARCHITECTURES["nested"].module().train()
    module[1][0].eval()
    before = {name: child.training for name, child in module.named_modules()}
    trace(module, torch.zeros(1, 2).double())
    assert {name: child.training for name, child in module.named_modules()} == before


def test_training_modes_are_restored_after_an_error():
    module = nn.Sequential(nn.Linear(2, 2), Sorted())
    with pytest.raises(NNGraphsError):
        trace(module, torch.zeros(1, 2))
    assert all(child.training for child in module.modules())


def test_one_example_input_or_a_tuple():
    module = nn.Linear(2, 3)
    single, one_of_one = trace(module, torch.zeros(1, 2)), trace(module, (torch.zeros(1, 2),))
    assert single.groups == one_of_one.groups
    assert single.blocks == one_of_one.blocks


@pytest.mark.parametrize("shape", [(2,), (1, 2), (7, 2), (3, 5, 2)])
def test_only_the_channels_of_the_example_matter(shape):
    module = ARCHITECTURES["chain"].module()
    template = trace(module, torch.zeros(shape).double())
    assert template.groups == trace(module, torch.zeros(1, 2).double()).groups


def test_weights_and_seed_of_the_traced_module_do_not_matter():
    architecture = ARCHITECTURES["sum of many"]
    first, second = (trace(architecture.module(seed), architecture.example()) for seed in (0, 1))
    assert (first.groups, first.blocks) == (second.groups, second.blocks)


def test_known_architecture_by_hand():
    template = trace(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), torch.zeros(1, 2))
    graph = template(torch.arange(13.0))
    assert graph.edge_index[0].tolist() == [0, 1, 0, 1, 0, 1, 2, 3, 4]
    assert graph.edge_index[1].tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 5]
    assert graph.edge_features.flatten().tolist() == [0, 1, 2, 3, 4, 5, 9, 10, 11]
    assert graph.node_features.flatten().tolist() == [0, 0, 6, 7, 8, 12]
    assert graph.layer_id.tolist() == [0, 0, 1, 1, 1, 2]
    assert graph.kind_id.tolist() == [0, 0, 1, 1, 1, 2]
    assert graph.neuron_id.tolist() == [0, 1, 0, 1, 2, 0]
    assert graph.activation_id.tolist() == [0, 0, 1, 1, 1, 0]
    assert graph.has_bias.tolist() == [False, False, True, True, True, True]


def test_omega_0_is_a_neuron_s_activation_parameter():
    for omega_0 in (30, 30.0, torch.tensor(30.0), torch.tensor([30.0])):
        template = trace(nn.Sequential(nn.Linear(2, 3), Sine(omega_0)), torch.zeros(1, 2))
        assert template.groups[1].activation == Activation("sine", 30.0)
        assert len(template.groups) == 2


def test_skips_are_absorbed_by_the_sum_they_join():
    template = trace(ARCHITECTURES["skip to fewer"].module(), torch.zeros(1, 2).double())
    assert [group.width for group in template.groups] == [2, 5, 3, 2]
    assert [block.num_edges for block in template.blocks] == [10, 15, 3, 6]


def test_integer_buffers_and_unused_parameters_show_nowhere():
    template = trace(ARCHITECTURES["unused parameters"].module(), torch.zeros(1, 2).double())
    assert [group.width for group in template.groups] == [2, 4, 1]
    unused = [slot.name for slot in template.parameters.slots if slot not in template.places]
    assert unused == ["scale", "c.weight", "c.bias"]


class WithParameter(nn.Module):
    def __init__(self, forward_fn, shape=()):
        super().__init__()
        self.own = nn.Parameter(torch.ones(shape))
        self.linear = nn.Linear(2, 2)
        self.forward_fn = forward_fn

    def forward(self, inputs):
        return self.forward_fn(self, inputs)


class Sorted(nn.Module):
    def forward(self, inputs):
        return inputs.sort(-1).values


UNTRACEABLE = {
    "unknown operation": (
        nn.Sequential(nn.Linear(2, 2), nn.Sequential(Sorted())),
        "make a neural graph of the submodule 1.0",
        "operation aten.sort.default is unknown",
    ),
    "unknown operation in forward": (
        net(lambda m, x: m.a(x).cumsum(-1), (2, 2))(),
        "make a neural graph of the module itself",
        "operation aten.cumsum.default is unknown",
    ),
    "random numbers": (
        net(lambda m, x: m.a(x) + torch.rand(2), (2, 2))(),
        "the module itself",
        "aten.rand.default draws random numbers",
    ),
    "computed weights": (
        WithParameter(lambda m, x: F.linear(x, torch.tanh(m.own)), (3, 2)),
        "the module itself",
        "the weights tanh of aten.linear.default are no parameter",
    ),
    "constant weights": (
        net(lambda m, x: F.linear(m.a(x), torch.eye(2).mul(1)), (2, 2))(),
        "the module itself",
        "the weights mul of aten.linear.default are no parameter",
    ),
    "largest channel": (
        net(lambda m, x: m.a(x).amax(-1), (2, 3))(),
        "the module itself",
        "goes over channels, not over places alone",
    ),
    "joined points": (
        net(lambda m, x: torch.cat([m.a(x), m.a(x)]), (2, 3))(),
        "the module itself",
        "joins points, not channels or places",
    ),
    "norm over two axes": (
        nn.Sequential(nn.Linear(2, 3), nn.LayerNorm((5, 3))),
        "the submodule 1",
        "it normalises over the shape [5, 3], not channels alone",
    ),
    "padding in front": (
        net(lambda m, x: F.pad(m.a(x), (1, 0)), (2, 3))(),
        "the module itself",
        "pads otherwise than with zeros behind",
    ),
    "padding with ones": (
        net(lambda m, x: F.pad(m.a(x), (0, 1), value=1.0), (2, 3))(),
        "the module itself",
        "pads otherwise than with zeros behind",
    ),
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_cannot_be_traced_is_named(name, raises_saying):
    module, asked, found = UNTRACEABLE[name]
    with raises_saying(asked=asked, found=found, do="traceable_operations() names all"):
        trace(module, torch.zeros(5, 2))


def test_what_could_not_be_traced_once_is_traced():
    """Quotients, trained factors, slices with steps, points and channels alone, means and cubes."""
    layers = (2, 3), (2, 3)
    for forward in (
        lambda m, x: m.a(x) / m.b(x),
        lambda m, x: m.a(x)[..., ::2],
        lambda m, x: m.a(x)[1:] + m.a(x)[:-1],
        lambda m, x: m.a(x)[0],
        lambda m, x: m.a(x).mean(-1),
        lambda m, x: m.a(x).mean(0),
        lambda m, x: m.a(x).pow(3),
    ):
        assert assert_faithful(net(forward, *layers)(), torch.randn(5, 2)).is_runnable
    factor = WithParameter(lambda m, x: m.linear(torch.sin(m.own * x)))
    assert assert_faithful(factor, torch.randn(5, 2)).is_runnable


def test_an_unknown_operation_names_the_nearest_known_one():
    module = net(lambda m, x: torch.special.log_ndtr(m.a(x)), (2, 2))()
    with pytest.raises(NNGraphsError) as caught:
        trace(module, torch.zeros(1, 2))
    assert "Nearest known operation: aten.log" in caught.value.do
    assert {"aten.linear.default", "aten.relu.default"} <= set(traceable_operations())


def test_the_page_on_tracing_lists_the_known_operations():
    page = (Path(__file__).parents[3] / "docs" / "tracing.md").read_text()
    table = page.split("## Known operations")[1].split("\n\n")[1]
    listed = re.findall(r"`(\w+\.\w+)`", table)
    assert sorted(listed) == [name.removeprefix("aten.") for name in traceable_operations()]


def branching(m, x):
    return m.a(x) if x.sum() > 0 else m.b(x)


ONE_POINT = torch.zeros(1, 2)


def test_the_line_that_branches_on_data_is_named():
    line = branching.__code__.co_firstlineno + 1
    with pytest.raises(NNGraphsError) as caught:
        trace(Net(branching, (2, 2), (2, 2)), ONE_POINT)
    assert f"(in line {line} of {__file__}: return m.a(x) if x.sum() > 0" in caught.value.found


SPREAD = {
    "channels into points": lambda m, x: m.a(x).reshape(-1, 3),
    "channels on two axes": lambda m, x: m.a(x).unflatten(-1, (2, 3)),
    "moved points": lambda m, x: m.a(x).transpose(0, 1),
    "channels in another order": lambda m, x: m.a(x).unflatten(-1, (2, 3)).mT.flatten(1),
}


@pytest.mark.parametrize("name", SPREAD)
def test_channels_may_lie_on_other_axes(name):
    """Then the graph holds the parameters, but does not say how to run the network."""
    module = net(SPREAD[name], (2, 6))().double()
    template = trace(module, torch.zeros(5, 2).double())
    params = template.parameters.flatten(module)
    assert torch.equal(template.invert(template(module)), params)
    assert template.num_neurons(NeuronKind.OUTPUT) == 6
    assert not template.is_runnable


def test_overlapping_parts_of_a_parameter_are_refused(raises_saying):
    def forward(m, x):
        return F.linear(x, m.own[:3]) + F.linear(x, m.own[1:])

    with raises_saying(asked="own[0:6] and own[2:8]", found="overlap", do="as a whole"):
        trace(WithParameter(forward, (4, 2)), torch.zeros(5, 2))


def test_a_linear_map_of_channels_on_two_axes_is_refused(raises_saying):
    module = nn.Sequential(nn.Linear(2, 6), nn.Unflatten(-1, (2, 3)), nn.Linear(3, 1))
    found = "aten.linear.default takes channels that no single axis holds"
    do = "aten.linear.default is known in other uses"
    with raises_saying(asked="the submodule 2", found=found, do=do):
        trace(module, torch.zeros(5, 2))


@pytest.mark.parametrize(
    ("module", "inputs", "shapes", "found"),
    [
        (Net(branching, (2, 2), (2, 2)), ONE_POINT, "[1, 2]", "data-dependent expression"),
        (nn.Linear(2, 3), torch.zeros(1, 4), "[1, 4]", "got [1, 4] X [2, 3]"),
        (nn.Linear(2, 3), (ONE_POINT, ONE_POINT), "[1, 2], [1, 2]", "too many positional"),
        (net(lambda m, x, y: m.a(x + y), (2, 3))(), ONE_POINT, "[1, 2]", "missing 1 required"),
    ],
)
def test_what_torch_cannot_export_is_told(module, inputs, shapes, found, raises_saying):
    asked = f"trace a {type(module).__name__} on example inputs of the shapes {shapes}"
    do = "must run on the example inputs and not branch on their values"
    with raises_saying(asked=asked, found=found, do=do):
        trace(module, inputs)
