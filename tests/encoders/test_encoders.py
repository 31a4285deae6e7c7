"""What holds for every encoder: a new one is one more row of `cases.ENCODERS`."""

import io

import pytest
import torch
from torch.nn import functional as F
from torch_geometric.data import Batch
from torch_geometric.loader import DataLoader

from nn_graphs.encoders.features import EncodedGraphs
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.testing import (
    TOLERANCE,
    assert_batch_independent,
    assert_equivariant,
    assert_invariant,
    assert_sensitive,
)
from tests.encoders.cases import (
    ENCODERS,
    TEMPLATES,
    assert_equal_gradients_as_edge_list,
    classifier,
    editor,
    inr,
    make_encoder,
    networks,
    randomise,
    skipping,
)

ALL = [make() for make in TEMPLATES.values()]
DIMS = GraphDims.of(ALL)
WITH_HIDDEN = [template for template in ALL if template.symmetries.sizes]

pytestmark = pytest.mark.parametrize("name", ENCODERS)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def stacks(count: int = 2) -> list:
    return [template.stack(networks(template, count)) for template in ALL]


def make(name: str):
    encoder = make_encoder(name, ALL)
    randomise(encoder)
    return encoder


@torch.no_grad()
def test_what_a_head_does_not_read_may_be_left_out(name):
    encoder = make(name)
    models = {
        method: classifier(encoder, DIMS, method)
        for method in ("cat", "mean", "cat_mean", "max_edge")
    }
    encodings = []
    encoder.register_forward_hook(lambda _, inputs, encoded: encodings.append(encoded))
    for graphs in (*stacks(), Batch.from_data_list([stack[0] for stack in stacks(1)])):
        whole = encoder(graphs)
        for method, model in models.items():
            found, expected = model(graphs), model.head(whole)
            assert (encodings[-1].edges is None) == (method != "max_edge")
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_shapes(name):
    encoder = make(name)
    for stack in stacks(3):
        encoded = encoder(stack)
        assert encoded.graphs is stack
        assert encoded.nodes.shape == (3, stack.template.num_nodes, encoder.node_dim)
        assert encoded.edges.shape == (3, stack.template.num_edges, encoder.edge_dim)
        assert classifier(encoder, DIMS)(stack).shape == (3, 4)
        assert editor(encoder, DIMS)(stack).params.shape == (3, stack.template.num_params)
        one = encoder(stack[0])
        assert one.nodes.shape == (stack.template.num_nodes, encoder.node_dim)
    batch = Batch.from_data_list([graph for stack in stacks() for graph in stack])
    encoded = encoder(batch)
    assert encoded.nodes.shape == (batch.num_nodes, encoder.node_dim)
    assert encoded.edges.shape == (batch.num_edges, encoder.edge_dim)


def test_invariant_classes_and_equivariant_parameters(name):
    """Edits that are added to what there was are these and the networks themselves."""
    encoder = make(name)
    classes, edits = classifier(encoder, DIMS), editor(encoder, DIMS, is_residual=False)
    for template in WITH_HIDDEN:
        params = networks(template, 3)
        assert_invariant(classes, template, params, generator=generator())
        assert_equivariant(edits, template, params, generator=generator())
    skips = ALL[1]
    added = editor(encoder, DIMS, is_residual=True)
    assert_equivariant(added, skips, networks(skips, 3), generator=generator())


def test_sensitive_to_an_uncoupled_permutation(name):
    encoder = make(name)
    for template in WITH_HIDDEN:
        params = networks(template, 3)
        pooled = classifier(encoder, DIMS, "mean", layer="all")
        assert_sensitive(pooled, template, params)
        assert_sensitive(editor(encoder, DIMS, is_residual=False), template, params)


def test_a_graph_does_not_see_its_batch(name):
    """Vectors, classes and edits of one encoding; as they share a scale, ten times as exactly."""
    encoder = make(name).eval()
    classify, edit = classifier(encoder, DIMS).head, editor(encoder, DIMS).head

    def model(graphs):
        encoded = encoder(graphs)
        edited, classes = edit(encoded), classify(encoded)
        nodes = torch.cat([encoded.nodes, edited.node_features], dim=-1)
        edges = torch.cat([encoded.edges, edited.edge_features], dim=-1)
        graph = classes if encoded.graph is None else torch.cat([classes, encoded.graph], dim=-1)
        width = max(nodes.shape[-1], graph.shape[-1])  # which are equal, of what is encoded
        nodes, graph = (F.pad(part, (0, width - part.shape[-1])) for part in (nodes, graph))
        return EncodedGraphs(graphs, nodes, edges, graph)

    assert_batch_independent(model, stacks(), tolerance=TOLERANCE / 10)


def test_a_graph_does_not_see_its_batch_in_training(name):
    assert_batch_independent(classifier(make(name), DIMS).train(), stacks())


def test_stacks_and_edge_lists_have_equal_gradients(name):
    stack = ALL[1].stack(networks(ALL[1], 3))
    assert_equal_gradients_as_edge_list(classifier(make(name), DIMS), stack)


@pytest.mark.parametrize("template", [inr(2, 5, 4, 2), skipping()], ids=["inr", "skipping"])
def test_gradients_reach_every_parameter(name, template):
    encoder, dims = make_encoder(name, [template]), GraphDims.of([template])
    randomise(encoder)
    stack = template.stack(networks(template, 6))
    edits = editor(encoder, dims)
    edits(stack).params.square().sum().backward()
    assert _without_gradient(edits) == set()
    classes = classifier(encoder, dims)
    classes.zero_grad()
    classes(stack).square().sum().backward()
    unread = {"last edge update"} if _has_last_edge_update(encoder) else set()
    assert {_part(encoder, name) for name in _without_gradient(classes)} == unread


def test_state_dict_round_trip(name):
    first, second = make(name), make_encoder(name, ALL)
    stack = ALL[0].stack(networks(ALL[0], 2))
    assert not torch.equal(first(stack).nodes, second(stack).nodes)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(first(stack).nodes, second(stack).nodes)


def test_float32_agrees_with_float64(name):
    encoder = make(name)
    stack = ALL[0].stack(networks(ALL[0], 2))
    exact = encoder(stack).nodes
    halved = stack.with_features(stack.node_features.float(), stack.edge_features.float())
    rounded = encoder.float()(halved).nodes
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.double(), exact, rtol=1e-3, atol=1e-3)


def test_batches_of_a_torch_geometric_loader_go_in(name):
    model = classifier(make(name), DIMS)
    members = [graph for stack in stacks() for graph in stack]
    loader = DataLoader(members, batch_size=3)
    found = torch.cat([model(batch) for batch in loader])
    expected = torch.cat([model(stack) for stack in stacks()])
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def _without_gradient(model) -> set[str]:
    largest = max(p.grad.abs().max() for p in model.parameters() if p.grad is not None)
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or parameter.grad.abs().max() < 1e-12 * largest
    }


def _has_last_edge_update(encoder) -> bool:
    if not hasattr(encoder, "edge_updates"):
        return True  # edges are read off neurons, once
    return 0 < len(encoder.edge_updates) == len(getattr(encoder, "node_updates", ()))


def _part(encoder, name: str) -> str:
    last = "edge_readout"
    if hasattr(encoder, "edge_updates"):
        last = f"edge_updates.{len(encoder.edge_updates) - 1}"
    return "last edge update" if name.startswith(f"encoder.{last}.") else name
