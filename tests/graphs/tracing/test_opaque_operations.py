"""Operations without a rule, kept on request: the rest of the network stays as it is."""

import pytest
import torch
from torch import nn
from torch_geometric.data import Batch

from nn_graphs.graphs.mixed_templates import MixedTemplates
from nn_graphs.graphs.template_json import template_from_json, template_to_json
from nn_graphs.graphs.tracing import trace
from tests.graphs.tracing.faithful import Written, assert_faithful

POINTS = torch.randn(4, 6)
Linear = nn.Linear


def square() -> nn.Parameter:
    return nn.Parameter(torch.randn(6, 6) + 6 * torch.eye(6))


NETWORKS = {  # the module; its permutations; operations; how many parameters only they read
    "sorted": (
        lambda: Written(
            lambda m, x: m.c(m.b(m.a(x).tanh()).tanh().sort(-1)[0]),
            a=Linear(6, 8),
            b=Linear(8, 7),
            c=Linear(7, 2),
        ),
        [8],
        ["aten.sort.default"],
        0,
    ),
    "weights that are computed": (
        lambda: Written(
            lambda m, x: m.b(m.a(nn.functional.linear(x, torch.linalg.inv(m.own))).tanh()),
            own=square(),
            a=Linear(6, 8),
            b=Linear(8, 2),
        ),
        [8],
        ["aten.linalg_inv.default"],
        36,
    ),
    "an output of parameters alone": (
        lambda: Written(
            lambda m, x: (m.b(m.a(x).tanh()), torch.linalg.inv(m.own)),
            own=square(),
            a=Linear(6, 8),
            b=Linear(8, 2),
        ),
        [8],
        ["aten.linalg_inv.default"],
        36,
    ),
    "a weight that is read in its order too": (
        lambda: Written(
            lambda m, x: m.b(m.a(x).tanh()) + torch.linalg.pinv(m.b.weight)[0],
            a=Linear(6, 8),
            b=Linear(8, 2),
        ),
        [],
        ["aten.linalg_pinv.atol_rtol_tensor"],
        0,
    ),
    "a sine whose bias is read too": (
        lambda: Written(
            lambda m, x: m.b(m.a(x).sin()) * torch.linalg.inv(m.a.bias.outer(m.a.bias) + m.eye)[0],
            a=Linear(6, 2),
            b=Linear(2, 2),
            eye=torch.eye(2),
        ),
        [],
        None,
        4,  # the buffer
    ),
    "some channels": (
        lambda: Written(
            lambda m, x: m.b(torch.cat([m.a(x).tanh()[:, :3].cummax(-1)[0], m.a(x)[:, 3:]], 1)),
            a=Linear(6, 8),
            b=Linear(8, 2),
        ),
        [5],
        ["aten.cummax.default"],
        0,
    ),
    "a parameter that is read whole and in parts": (
        lambda: Written(
            lambda m, x: m.b(m.a(x).tanh()) + m.b.weight.view(-1)[:2],
            a=Linear(6, 8),
            b=Linear(8, 2),
        ),
        [],
        ["aten.add.Tensor"],
        0,
    ),
    "complex numbers": (
        lambda: Written(
            lambda m, x: m.b(torch.fft.fft(m.a(x).tanh()).abs()), a=Linear(6, 8), b=Linear(8, 2)
        ),
        [],
        None,
        0,
    ),
    "a choice": (
        lambda: Written(
            lambda m, x: (m.b(m.a(x).tanh()), m.b(m.a(x).tanh()).argmax(-1)),
            a=Linear(6, 8),
            b=Linear(8, 2),
        ),
        [8],
        ["aten.argmax.default"],
        0,
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_rest_keeps_its_symmetries_and_all_parameters_come_back(name):
    make, sizes, operations, num_hidden = NETWORKS[name]
    torch.manual_seed(0)
    template = assert_faithful(make(), POINTS, unknown="opaque")
    assert not template.is_runnable
    assert sorted(size for size in template.symmetries.sizes if size > 1) == sizes
    if operations is not None:
        assert [found.operation for found in template.opaque_operations] == operations
    assert template.num_unshown == num_hidden
    assert sum(found.num_params for found in template.opaque_operations) >= num_hidden


def test_what_is_known_is_traced_alike():
    module = nn.Sequential(Linear(6, 8), nn.Tanh(), Linear(8, 2))
    strict, lenient = trace(module, POINTS), trace(module, POINTS, unknown="opaque")
    assert template_to_json(strict) == template_to_json(lenient)
    assert lenient.opaque_operations == ()


def test_templates_with_opaque_operations_are_written_and_read():
    template = trace(NETWORKS["some channels"][0](), POINTS, unknown="opaque")
    read = template_from_json(template_to_json(template))
    assert read.opaque_operations == template.opaque_operations
    assert read.symmetries == template.symmetries


def test_unknown_operations_are_errors_by_default(raises_saying):
    module = NETWORKS["sorted"][0]()
    with raises_saying(asked="make a neural graph", found="aten.sort.default", do="Nearest"):
        trace(module, POINTS)
    with raises_saying(asked="unknown='opake'", found="opake", do="opaque"):
        trace(module, POINTS, unknown="opake")


def test_graphs_and_batches_carry_what_they_do_not_show(raises_saying):
    module = NETWORKS["weights that are computed"][0]()
    template = trace(module, POINTS, unknown="opaque")
    params = torch.randn(3, template.num_params)
    stack = template.stack(params)
    for graphs in (stack, stack.to_batch(), stack.with_features(*features_of(stack))):
        assert torch.equal(template.invert(graphs), params)
    parts = stack.split(2)
    assert torch.equal(torch.cat([part.params for part in parts]), params)
    graph = stack[1]
    assert torch.equal(template.invert(graph), params[1])
    assert torch.equal(stack.to_batch().get_example(1).unshown, graph.unshown)
    del graph["unshown"]
    with raises_saying(asked="all parameters", found="36 of them nowhere", do="base="):
        template.invert(graph)
    assert torch.equal(template.invert(graph, base=params[1]), params[1])


@pytest.mark.parametrize("names", [("weights that are computed", "sorted"), ("sorted",) * 2])
def test_batches_of_several_architectures_carry_it_too(names):
    """In any order, by torch-geometric's own way and by ours."""
    templates = [trace(NETWORKS[name][0](), POINTS, unknown="opaque") for name in names]
    templates.append(
        trace(NETWORKS["a sine whose bias is read too"][0](), POINTS, unknown="opaque")
    )
    params = [torch.randn(template.num_params) for template in templates]
    for order in ([0, 1, 2], [2, 1, 0], [1, 0, 2, 1]):
        graphs = [templates[number](params[number]) for number in order]
        batch = Batch.from_data_list(graphs)
        for graph, number in zip(batch.to_data_list(), order, strict=True):
            assert torch.equal(templates[number].invert(graph), params[number])
        mixed = MixedTemplates(templates)
        made = mixed.batch(torch.tensor(order), [params[number] for number in order])
        assert torch.equal(made.unshown, batch.unshown)
        for found, number in zip(mixed.params_of(made), order, strict=True):
            assert torch.equal(found, params[number])


def features_of(stack) -> tuple[torch.Tensor, torch.Tensor]:
    return stack.node_features, stack.edge_features
