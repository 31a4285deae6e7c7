"""Graphs on a device: templates and back, topologies, symmetries, augmentations, execution."""

import pytest
import torch
from torch import Tensor, nn
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
from nn_graphs.graphs.canonical_forms import canonical_graphs, canonical_params
from nn_graphs.graphs.execution import execute, network_outputs, propagate
from nn_graphs.graphs.graph_template import NeuralGraphStack
from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.positional import LaplacianEncoding, RandomFeatures, ReturnProbabilities
from nn_graphs.graphs.removal import (
    merge_neurons,
    remove_neurons,
    remove_redundant_neurons,
    widen_neurons,
)
from nn_graphs.graphs.symmetry import apply_symmetries, apply_to_graphs, sample_symmetries
from nn_graphs.graphs.topology import Topology, on_edges
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import small_cnn_zoo_spec, wild_park_spec
from nn_graphs.networks.spec import NetworkSpec
from tests.accelerators.both_places import assert_same_there, there
from tests.graphs.convolutional import CASES

SINE, TANH, RELU = Activation("sine", 30.0), Activation("tanh"), Activation("relu")
SPECS = {
    "inr": NetworkSpec.mlp((2, 4, 3, 1), activation=SINE, offset=0.5),
    "mlp": NetworkSpec.mlp((2, 3, 3, 2), activation=TANH),
    "cnn": wild_park_spec((1, 3, 2), (5, 3), activations=("relu", "tanh"), num_outputs=2),
}
TEMPLATES = {name: template_from_spec(spec) for name, spec in SPECS.items()}
every_template = pytest.mark.parametrize("name", TEMPLATES)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def params_of(name: str, count: int = 2) -> Tensor:
    return rand(count, TEMPLATES[name].num_params) / 2


def stack_of(name: str) -> NeuralGraphStack:
    return TEMPLATES[name].stack(params_of(name))


@every_template
def test_templates_and_back(device, name):
    template, params = TEMPLATES[name], params_of(name)
    assert_same_there(template.stack, device, params)
    assert_same_there(lambda params: template.invert(template.stack(params)), device, params)
    assert_same_there(lambda params: template(params), device, params[0])
    assert_same_there(lambda params: template.invert(template(params)), device, params[0])
    assert_same_there(lambda params: template.stack(params).to_batch(), device, params)
    assert_same_there(
        lambda params: template.invert(Batch.from_data_list(list(template.stack(params)))),
        device,
        params,
    )
    assert_same_there(lambda stack: stack.structure, device, template.stack(params))


def reductions(topology: Topology, nodes: Tensor, edges: Tensor) -> list[Tensor]:
    """All that encoders ask of a topology, in one list."""
    values = topology.join(edges, edges.sin(), fill=edges.new_zeros(edges.shape[-1]))
    heads = on_edges(lambda e: e[..., :2], values)
    statistics = topology.reduce_statistics(values, eps=1e-5)
    found = [
        topology.reduce_sum(values),
        topology.reduce_max(values),
        topology.reduce_min(values),
        *statistics,
        topology.reduce_weighted(heads, values),
        topology.reduce_attended(topology.softmax(heads), nodes),
        topology.graph_mean(nodes),
        topology.in_degree,
        topology.unflatten(topology.flatten(nodes)[0]),
        *on_edges(torch.add, topology.sources(nodes), topology.targets(nodes)),
        *topology.opposite(values),
        *topology.dot_products(nodes, nodes, num_heads=2),
        topology.into_outputs().reduce_sum(topology.into_outputs().chosen(values)),
    ]
    return [value for value in found if value is not None]


def test_topologies(device):
    def layered(stack: NeuralGraphStack, nodes: Tensor, edges: Tensor) -> list[Tensor]:
        return reductions(stack.topology.bidirectional, nodes, edges)

    def edge_list(stack: NeuralGraphStack, nodes: Tensor, edges: Tensor) -> list[Tensor]:
        topology = stack.to_batch().topology.bidirectional
        return reductions(topology, nodes.flatten(0, 1), edges.flatten(0, 1))

    stack = stack_of("mlp")
    nodes, edges = rand(2, stack.template.num_nodes, 4), rand(2, stack.template.num_edges, 4)
    for function in (layered, edge_list):
        assert_same_there(function, device, stack, nodes, edges)


def test_all_pairs(device):
    def pairs(stack: NeuralGraphStack, nodes: Tensor, edges: Tensor) -> list[Tensor]:
        topology = stack.topology.complete(len(stack))
        values = topology.join(edges, edges.sin(), fill=edges.new_zeros(4))
        weights = topology.softmax(on_edges(lambda e: e[..., :2], values))
        return [
            *values,
            topology.reduce_sum(values),
            topology.reduce_attended(weights, nodes),
            *on_edges(torch.add, topology.sources(nodes), topology.targets(nodes)),
            *(value for value in topology.split(values) if value is not None),
        ]

    stack = stack_of("mlp")
    nodes, edges = rand(2, stack.template.num_nodes, 4), rand(2, stack.template.num_edges, 4)
    assert_same_there(pairs, device, stack, nodes, edges)


@pytest.mark.parametrize("name", ["inr", "mlp", "cnn"])
def test_symmetries(device, name):
    """They are drawn on the CPU, and applied where networks are."""
    template = TEMPLATES[name]
    element = sample_symmetries(
        template, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    assert_same_there(
        lambda params: apply_symmetries(template, params, element), device, params_of(name)
    )
    assert_same_there(
        lambda graphs: apply_to_graphs(template, graphs, element), device, stack_of(name)
    )


@every_template
def test_canonical_forms(device, name):
    template = TEMPLATES[name]
    assert_same_there(lambda params: canonical_params(template, params), device, params_of(name))
    assert_same_there(canonical_graphs, device, stack_of(name))


AUGMENTATIONS: dict[str, Augmentation] = {
    "noise": WeightNoise(share=0.1),
    "dropout": WeightDropout(rate=0.3),
    "translation": Translation(max_shift=0.25),
    "rotation": Rotation(max_degrees=45.0),
    "scaling": Scaling(max_change=0.2),
    "symmetries": RandomSymmetries(),
    "all": Compose([Translation(max_shift=0.2), WeightNoise(share=0.1), RandomSymmetries()]),
}


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_augmentations(device, name):
    """Draws are those of the device: on a GPU other ones than on the CPU."""
    stack = there(stack_of("inr"), device)
    changed = there(AUGMENTATIONS[name], device)(stack)
    assert changed.params.device == device
    assert not torch.equal(changed.params, stack.params)
    if name == "symmetries":
        points = rand(5, 2).to(device)
        assert_same(network_outputs(changed, points), network_outputs(stack, points))


def assert_same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one.cpu(), other.cpu(), rtol=1e-9, atol=1e-9)


def test_moved_inputs(device):
    assert_same_there(
        lambda stack, matrix, shift: transform_inputs(stack, matrix=matrix, shift=shift),
        device,
        stack_of("inr"),
        rand(2, 2, 2),
        rand(2, 2),
    )


PROPAGATED = (
    *("group norm of groups", "layer norm", "maximum pooling", "adaptive pooling", "flatten"),
    *("bilinear upsampling", "joined places", "product of branches", "gated channels", "tokens"),
)


def mixed() -> tuple[MixedTemplates, Batch]:
    specs = [small_cnn_zoo_spec("relu"), small_cnn_zoo_spec("tanh"), SPECS["cnn"]]
    templates = MixedTemplates([template_from_spec(spec) for spec in specs])
    kinds = torch.tensor([1, 0, 2, 1])
    params = [rand(templates.templates[kind].num_params, seed=kind) / 4 for kind in kinds.tolist()]
    return templates, templates.batch(kinds, params)


def test_mixed_batches(device):
    templates, batch = mixed()
    assert_same_there(templates.params_of, device, batch)
    assert_same_there(
        lambda batch: [params for _, params in templates.stacks_of(batch)], device, batch
    )
    batch = there(batch, device)
    for augmentation in (WeightNoise(share=0.1), RandomSymmetries()):
        changed = OfMixes(augmentation, templates).to(device)(batch)
        assert changed.edge_features.device == device
        assert not torch.equal(changed.edge_features, batch.edge_features)


def test_batches_are_made_where_parameters_are(device):
    templates, batch = mixed()
    params = [each.to(device) for each in templates.params_of(batch)]
    for kinds in (batch.template_id, batch.template_id.to(device)):
        made = templates.batch(kinds, params)
        assert made.node_features.device == device
        assert made.edge_index.device == device
        assert_same(made.edge_features, batch.edge_features)


@pytest.mark.parametrize("name", ["inr", "mlp"])
def test_execution(device, name):
    assert_same_there(execute, device, stack_of(name), rand(5, 2))
    assert_same_there(
        lambda stack, x: execute(stack.to_batch(), x), device, stack_of(name), rand(5, 2)
    )


@pytest.mark.parametrize("name", PROPAGATED)
def test_propagation(device, name):
    case = CASES[name]
    module, inputs = case.module(), case.inputs()
    template = trace(module, inputs)
    params = template.parameters.flatten(module).detach()[None]
    assert_same_there(propagate, device, template.stack(params), *inputs)


@pytest.mark.parametrize(
    "encoding",
    [
        LaplacianEncoding(3),
        LaplacianEncoding(3, is_weighted=True, is_equivariant=True),
        RandomFeatures(3),
        ReturnProbabilities(3),
    ],
    ids=repr,
)
def test_places_in_graphs(device, encoding):
    for graphs in (stack_of("mlp"), stack_of("mlp").to_batch()):
        found = encoding(there(graphs, device))
        assert found.device == device
        assert_same(found, encoding(graphs))
        generator = torch.Generator(device).manual_seed(0)
        assert encoding(there(graphs, device), generator=generator).device == device


CHANGES = {
    "removed": lambda module, x: remove_neurons(module, x, {"0.weight": [1]}),
    "merged": lambda module, x: merge_neurons(module, x, {"0.weight": [[1, 2]]}),
    "widened": lambda module, x: widen_neurons(module, x, {"0.weight": {1: 3}}),
    "without redundant ones": lambda module, x: remove_redundant_neurons(module, x).module,
}


@pytest.mark.parametrize("name", CHANGES)
def test_modules_with_other_numbers_of_neurons(device, name):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3)).double()
    module[0].weight.data[3], module[0].bias.data[3] = 0, -1  # dead

    def outputs(module: nn.Module, inputs: Tensor) -> Tensor:
        changed = CHANGES[name](module, inputs)
        assert changed[0].weight.shape != module[0].weight.shape
        return changed(inputs)

    assert_same_there(outputs, device, module, rand(5, 2))
    assert_same_there(lambda module, x: trace(module, x)(module), device, module, rand(5, 2))
