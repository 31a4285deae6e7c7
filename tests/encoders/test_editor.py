"""Editors: equivariant, each network by itself, in several copies, and nothing that is not read."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dws import DWSNet
from nn_graphs.encoders.editor import Editor
from nn_graphs.encoders.equivariant.head import EquivariantHead
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.encoders.heads import ParameterHead
from nn_graphs.encoders.nfn import NFN
from nn_graphs.encoders.product_gnn import ProductGNN
from nn_graphs.encoders.relational_transformer import NGT
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.testing import assert_equivariant, assert_sensitive
from tests.encoders.cases import SMALL_GNN, SMALL_NGT, inr, networks, randomise, skipping

NGT_OPTIONS = SMALL_NGT | {"has_last_edge_update": True, "has_reverse_features": True}
ENCODERS = {
    "gnn": lambda template, found: NGGNN([template], found, **SMALL_GNN),
    "gnn_probes": lambda template, found: NGGNN([template], found, num_probes=5, **SMALL_GNN),
    "ngt": lambda template, found: NGT([template], found, **NGT_OPTIONS),
    "ngt_edges": lambda template, found: NGT([template], found, attention="edges", **NGT_OPTIONS),
    "product": lambda template, found: ProductGNN([template], found, dim=8, num_layers=2),
    "scalegmn": lambda template, found: ScaleGMN([template], found, dim=8, num_layers=2),
    "dws": lambda template, found: DWSNet(template, found, dim=6, num_layers=2),
    "nfn_np": lambda template, found: NFN(template, found, variant="np", dims=(8, 6)),
    "nfn_hnp": lambda template, found: NFN(template, found, variant="hnp", dims=(8, 6)),
}
TEMPLATES = {
    "inr": lambda: inr(2, 5, 4, 3),
    "skipping": skipping,
    "cnn": lambda: template_from_spec(
        wild_park_spec((2, 3, 4), (3, 1), activations=("relu", "tanh"), num_outputs=3)
    ),
}
every_editor = pytest.mark.parametrize("name", ENCODERS)


def make_editor(name: str, template: GraphTemplate, **options) -> Editor:
    """In float64, with factors that show what it does."""
    torch.manual_seed(0)
    dims = GraphDims.of([template])
    statistics = WeightStatistics.measure(dims, [(template, networks(template, 6, seed=9))])
    encoder = ENCODERS[name](template, statistics)
    options = {"dims": dims, "statistics": statistics} | options
    if hasattr(encoder, "spaces"):
        head = EquivariantHead(encoder.spaces, dim=encoder.node_dim, **options)
    else:
        make_head = getattr(encoder, "parameter_head", ParameterHead)
        head = make_head(encoder.node_dim, encoder.edge_dim, **options)
    editor = Editor(encoder, head).double().eval()
    randomise(editor)
    return editor


@every_editor
@pytest.mark.parametrize("case", TEMPLATES)
@pytest.mark.parametrize("is_residual", [False, True])
def test_every_copy_is_equivariant(name, case, is_residual):
    if case == "cnn" and "probes" in name:
        pytest.skip("probes are vectors, not images")
    template = TEMPLATES[case]()
    editor = make_editor(name, template, num_copies=2, is_residual=is_residual)
    params = networks(template, 4)
    for copy in range(2):
        assert_equivariant(
            lambda graphs, c=copy: template.stack(editor(graphs)[:, c]), template, params
        )


@every_editor
def test_neurons_of_one_weight_are_not_free(name):
    template = inr(2, 5, 4, 3)
    editor = make_editor(name, template)
    assert_sensitive(lambda graphs: editor(graphs).flatten(1), template, networks(template, 4))


@every_editor
def test_networks_do_not_see_each_other(name):
    template = inr(2, 5, 4, 3)
    editor, stack = make_editor(name, template, num_copies=3), template.stack(networks(template, 5))
    together = editor(stack)
    assert together.shape == (5, 3, template.num_params)
    alone = torch.cat([editor(part) for part in stack.split(1)])
    assert_close(together, alone, rtol=0, atol=1e-12)


@every_editor
def test_copies_are_those_of_heads_alone(name):
    template = inr(2, 5, 4, 3)
    one, two = (make_editor(name, template, num_copies=count) for count in (1, 2))
    state, doubled = one.state_dict(), two.state_dict()
    for key, value in doubled.items():
        repeats = value.numel() // state[key].numel()
        parts = state[key].flatten() if repeats > 1 else state[key]
        doubled[key] = _twice(key, state[key], value.shape) if repeats > 1 else parts.clone()
    two.load_state_dict(doubled)
    stack = template.stack(networks(template, 4))
    expected, found = one(stack), two(stack)
    assert_close(found[:, 0], expected[:, 0])
    assert_close(found[:, 1], expected[:, 0])


def _twice(key: str, value: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """A last linear map with every output twice.

    One of weight spaces has several outputs, of fixed neurons, each with its copies in a row.
    """
    is_of_spaces = ".linear." in key
    repeated = (
        value.repeat_interleave(2, 0) if is_of_spaces else value.repeat(2, *[1] * (value.ndim - 1))
    )
    assert repeated.shape == shape
    return repeated


@every_editor
def test_a_head_of_zeros_leaves_networks_as_they_are_bit_for_bit(name):
    template = skipping()
    editor = make_editor(name, template, num_copies=2)
    for factor in (editor.head.new.bias_factor, editor.head.new.weight_factor):
        nn.init.zeros_(factor)
    params = networks(template, 4)
    found = editor(template.stack(params))
    assert torch.equal(found, params.unsqueeze(1).expand_as(found))


@every_editor
def test_gradients_reach_every_parameter_of_the_head(name):
    template = inr(2, 5, 4, 3)
    editor = make_editor(name, template, num_copies=2)
    editor(template.stack(networks(template, 4))).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in editor.head.parameters())


def test_what_needs_more_divides_a_batch():
    template = inr(2, 5, 4, 3)
    encoder = make_editor("gnn", template).encoder
    head = make_editor("gnn", template).head
    own = encoder.values_per_graph(14, 42)
    assert Editor(encoder, head).values_per_graph(14, 42) == own
    assert Editor(encoder, head, num_values_read=own + 5).values_per_graph(14, 42) == own + 5
    whole = make_editor("dws", template)  # batch norm needs the batch
    assert Editor(whole.encoder, whole.head, num_values_read=9).values_per_graph(14, 42) is None


def test_batches_of_many_architectures(raises_saying):
    template = inr(2, 5, 4, 3)
    batch = Batch.from_data_list(list(template.stack(networks(template, 2))))
    editor = make_editor("gnn", template, num_copies=2)
    with raises_saying(asked="edit a batch", found="several architectures", do="Give a stack"):
        _unchecked(Editor.forward)(editor, batch)
    with raises_saying(asked="2 networks for each", found="a batch", do="num_copies=1"):
        editor.head(editor.encoder(batch))


@pytest.mark.parametrize("count", [0, -3])
def test_no_copies(raises_saying, count):
    with raises_saying(asked=f"{count} networks", found="must be one", do="at least 1"):
        make_editor("gnn", inr(2, 3, 1), num_copies=count)


def _unchecked(function):
    """Without the check of types."""
    return getattr(function, "__wrapped__", function)
