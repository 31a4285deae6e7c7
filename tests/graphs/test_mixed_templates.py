"""Batches of many architectures are what graphs made one by one give; alike ones, as stacks."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.geometric_batch import run_of_graphs
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.mixed_templates import AsStack, MixedTemplates, are_alike
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import LayerSpec, NetworkSpec

RELU = Activation("relu")
MLPS = [
    NetworkSpec.mlp((2, 3, 2), activation=Activation("sine", 30.0), offset=0.5),
    NetworkSpec(2, (LayerSpec(3, RELU, has_bias=False), LayerSpec(2, RELU, skips=(0, 1)))),
]
CNNS = [
    wild_park_spec((2, 3, 4, 3), (3, 1, 5), activations=("relu",) * 3, residuals=(-1, -1, 0)),
    small_cnn_zoo_spec("tanh"),
]


def scaled() -> nn.Module:
    """A skip of another constant than 1, and a norm, whose edges no kernel has."""

    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(2, 2, (1, 3), padding=(0, 1)), nn.BatchNorm2d(2)

        def forward(self, images):
            return self.norm(torch.relu(self.first(images)) - 0.5 * images)

    return Scaled()


TEMPLATES = {
    "mlps": lambda: [template_from_spec(spec) for spec in MLPS],
    "all": lambda: [
        *(template_from_spec(spec) for spec in MLPS + CNNS),
        trace(scaled(), torch.zeros(1, 2, 4, 4)),
    ],
}


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_batch_is_that_of_graphs_made_one_by_one(name, dtype):
    templates = TEMPLATES[name]()
    mixed, generator = MixedTemplates(templates), torch.Generator().manual_seed(0)
    kinds = torch.randint(len(templates), (9,), generator=generator)
    params = [
        torch.randn(templates[kind].num_params, generator=generator, dtype=dtype)
        for kind in kinds.tolist()
    ]
    found = mixed.batch(kinds, params)
    graphs = []
    for kind, values in zip(kinds.tolist(), params, strict=True):
        stack = templates[kind].stack(values.unsqueeze(0))
        if mixed.kernel_size:
            stack = templates[kind].centred(stack, mixed.kernel_size)
        graphs.append(stack[0])
        graphs[-1].template_id = torch.tensor([kind])
    expected = Batch.from_data_list(graphs)
    assert type(found) is type(expected)
    assert found.num_graphs == 9
    assert found.num_nodes == expected.num_nodes
    assert sorted(found.keys()) == sorted(expected.keys())
    for key in expected.keys():  # noqa: SIM118 (a torch-geometric batch)
        if key != "num_nodes":
            assert found[key].dtype == expected[key].dtype, key
            assert torch.equal(found[key], expected[key]), key
    for one, other in zip(found.to_data_list(), graphs, strict=True):
        assert one.num_nodes == other.num_nodes
        assert torch.equal(one.edge_index, other.edge_index)
        assert torch.equal(one.edge_features, other.edge_features)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_batch_gives_its_parameters_back(name):
    mixed, kinds, params = drawn(name)
    batch = mixed.batch(kinds, params)
    for found, expected in zip(mixed.params_of(batch), params, strict=True):
        assert torch.equal(found, expected)
    part = run_of_graphs(batch, 2, 7)
    for found, expected in zip(mixed.params_of(part), params[2:7], strict=True):
        assert torch.equal(found, expected)
    again = Batch.from_data_list(batch.to_data_list())
    for found, expected in zip(mixed.params_of(again), params, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_batch_as_stacks(name):
    mixed, kinds, params = drawn(name)
    seen = []
    for numbers, stack in mixed.stacks_of(mixed.batch(kinds, params)):
        template = mixed.templates[kinds[numbers[0]]]
        assert stack.template is template
        assert (kinds[numbers] == kinds[numbers[0]]).all()
        expected = template.stack(torch.stack([params[number] for number in numbers]))
        assert torch.equal(stack.node_features, expected.node_features)
        assert torch.equal(stack.edge_features, expected.edge_features)
        seen += numbers.tolist()
    assert sorted(seen) == list(range(9))


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_batch_is_changed_as_its_stacks_are(name):
    mixed, kinds, params = drawn(name)

    def doubled(stack: NeuralGraphStack) -> NeuralGraphStack:
        return stack.template.stack(2 * stack.params)

    found = mixed.changed(mixed.batch(kinds, params), doubled)
    expected = mixed.batch(kinds, [2 * values for values in params])
    for key in expected.keys():  # noqa: SIM118 (a torch-geometric batch)
        if key != "num_nodes":
            assert torch.equal(found[key], expected[key]), key


def test_gradients_go_through_a_changed_batch():
    mixed, kinds, params = drawn("all")
    params = [values.requires_grad_() for values in params]
    changed = mixed.changed(mixed.batch(kinds, params), lambda stack: stack)
    sum(values.sum() for values in mixed.params_of(changed)).backward()
    assert all(torch.equal(values.grad, torch.ones_like(values)) for values in params)


def test_batches_of_others_do_not_tell_their_architectures(raises_saying):
    mixed, kinds, params = drawn("mlps")
    graphs = [mixed.templates[k](v) for k, v in zip(kinds.tolist(), params, strict=True)]
    with raises_saying(asked="9 graphs in a batch", found="template_id", do="MixedTemplates.batch"):
        mixed.params_of(Batch.from_data_list(graphs))


def drawn(name: str) -> tuple[MixedTemplates, Tensor, list[Tensor]]:
    """Nine networks of several architectures."""
    templates = TEMPLATES[name]()
    generator = torch.Generator().manual_seed(0)
    kinds = torch.randint(len(templates), (9,), generator=generator)
    sizes = [templates[kind].num_params for kind in kinds.tolist()]
    params = [torch.randn(size, generator=generator) for size in sizes]
    return MixedTemplates(templates), kinds, params


def test_gradients_reach_the_parameters():
    templates = TEMPLATES["all"]()
    params = [torch.randn(t.num_params, requires_grad=True) for t in templates]
    batch = MixedTemplates(templates).batch(torch.arange(len(templates)), params)
    (batch.x.sum() + 2 * batch.edge_attr.sum()).backward()
    for template, values in zip(templates, params, strict=True):
        num_biases = int(template.structure().has_bias.sum())
        assert values.grad.unique().tolist() == [1.0, 2.0]
        assert (values.grad == 1).sum() == num_biases


def test_networks_of_another_architecture(raises_saying):
    templates = TEMPLATES["mlps"]()
    params = [torch.zeros(templates[0].num_params)] * 2
    with raises_saying(asked="2 neural graphs", found="network 1 has 17", do="its own template"):
        MixedTemplates(templates).batch(torch.tensor([0, 1]), params)


def mlp(name: str, *widths: int) -> NetworkSpec:
    return NetworkSpec.mlp(widths, activation=Activation(name))


PAIRS = {
    "small cnns": [small_cnn_zoo_spec("relu"), small_cnn_zoo_spec("tanh")],
    "kernels of two sizes": [
        wild_park_spec((1, 3, 2), (5, 3), activations=(name, "gelu"), num_outputs=2)
        for name in ("relu", "sigmoid")
    ],
    "mlps": [mlp("relu", 2, 3, 1), mlp("tanh", 2, 3, 1)],
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_mixed_batch_as_a_stack(name):
    templates = [template_from_spec(spec) for spec in PAIRS[name]]
    assert are_alike(templates)
    params = torch.randn(5, templates[0].num_params)
    batch = MixedTemplates(templates).batch(torch.tensor([1, 0, 0, 1, 1]), list(params))
    stack = AsStack(templates[0])(batch)
    plain = templates[0].stack(params)
    if templates[0].kernel_size:
        plain = templates[0].centred(plain, templates[0].kernel_size)
    assert_close(stack.node_features, plain.node_features, rtol=0, atol=0)
    assert_close(stack.edge_features, plain.edge_features, rtol=0, atol=0)
    assert stack.kernel_size == plain.kernel_size
    assert_close(stack.params, params, rtol=0, atol=0)
    assert AsStack(templates[0])(plain) is plain


@pytest.mark.parametrize("widths", [(2, 4, 1), (2, 2, 2, 1), (3, 2, 1)])
def test_other_architectures(widths, raises_saying):
    templates = [template_from_spec(mlp("relu", 2, 3, 1)), template_from_spec(mlp("relu", *widths))]
    assert not are_alike(templates)
    params = [torch.randn(template.num_params) for template in templates]
    batch = MixedTemplates(templates).batch(torch.tensor([0, 1]), params)
    with raises_saying(asked="stack 2 graphs", found="the batch has", do="encoder of graphs"):
        AsStack(templates[0])(batch)


def test_equal_edges_with_other_kernels_are_not_alike():
    specs = [
        wild_park_spec((1, 3, 2), sizes, activations=("relu", "relu")) for sizes in [(5, 3), (3, 5)]
    ]
    assert not are_alike([template_from_spec(spec) for spec in specs])


def test_the_representation_is_one_line():
    small, large = (template_from_spec(mlp("relu", 2, width, 1)) for width in (3, 5))
    found = repr(MixedTemplates([small, large, large]))
    spans = "6 to 8 neurons, 9 to 15 edges, 13 to 21 parameters"
    assert found == f"MixedTemplates(3 architectures: {spans})"
    spans = "6 neurons, 9 edges, 13 parameters"
    assert repr(MixedTemplates([small])) == f"MixedTemplates(1 architectures: {spans})"
