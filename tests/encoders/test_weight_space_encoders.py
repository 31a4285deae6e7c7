"""What holds for DWSNet and both NFNs, which take stacks of one architecture."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.dws import DWSNet
from nn_graphs.encoders.equivariant.head import InvariantHead
from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.nfn import NFN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.testing import assert_equivariant, assert_invariant, assert_sensitive
from tests.encoders.cases import editor, networks, randomise
from tests.encoders.equivariant.cases import CASES
from tests.processes import assert_runs_in_own_process

ENCODERS: dict[str, Callable[..., nn.Module]] = {
    "dws": lambda *args: DWSNet(*args, dim=6, num_layers=3),
    "dws_plain": lambda *args: DWSNet(*args, dim=6, num_layers=2, has_batch_norm=False),
    "np": lambda *args: NFN(*args, variant="np", dims=(8, 6)),
    "np_plain_values": lambda *args: NFN(*args, variant="np", dims=(8, 6), fourier_sigma=None),
    "hnp": lambda *args: NFN(*args, variant="hnp", dims=(8, 6), num_bands=0),
    "hnp_plain_values": lambda *args: NFN(
        *args, variant="hnp", dims=(8, 6), num_bands=0, fourier_sigma=None, dropout=0.2
    ),
}
WITH_HIDDEN = [name for name in CASES if name not in ("linear_map", "width one")]

every_encoder = pytest.mark.parametrize("name", ENCODERS)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def params_of(template: GraphTemplate, count: int = 4, *, seed: int = 0) -> torch.Tensor:
    return networks(template, count, seed=seed)


def make_encoder(name: str, template: GraphTemplate) -> nn.Module:
    """In float64 and evaluation mode, normalised by statistics of networks of the template."""
    torch.manual_seed(0)
    population = [(template, params_of(template, 6, seed=9))]
    statistics = WeightStatistics.measure(GraphDims.of([template]), population)
    encoder = ENCODERS[name](template, statistics).double()
    randomise(encoder)
    return encoder.eval()


def classifier(encoder: nn.Module) -> GraphModel:
    head = InvariantHead(
        encoder.spaces, dim=encoder.node_dim, hidden_dims=[7], dropout=0.0, out_dim=4
    )
    return GraphModel(encoder, head).double().eval()


@every_encoder
@pytest.mark.parametrize("case", CASES)
def test_shapes(name, case):
    template = CASES[case]()
    encoder = make_encoder(name, template)
    stack = template.stack(params_of(template))
    encoded = encoder(stack)
    assert encoded.graphs is stack
    assert encoded.nodes.shape == (4, template.num_nodes, encoder.node_dim)
    assert encoded.edges.shape == (4, template.num_edges, encoder.edge_dim)
    assert classifier(encoder)(stack).shape == (4, 4)


@every_encoder
@pytest.mark.parametrize("case", WITH_HIDDEN)
def test_invariant_classes_and_equivariant_parameters(name, case):
    template = CASES[case]()
    encoder, params = make_encoder(name, template), params_of(template)
    assert_invariant(classifier(encoder), template, params, generator=generator())
    for is_residual in (True, False):
        edits = editor(encoder, GraphDims.of([template]), is_residual=is_residual).eval()
        assert_equivariant(edits, template, params, generator=generator())


@every_encoder
@pytest.mark.parametrize("case", ["inr", "skipping", "residual"])
def test_sensitive_to_an_uncoupled_permutation(name, case):
    template = CASES[case]()
    encoder, params = make_encoder(name, template), params_of(template)
    assert_sensitive(classifier(encoder), template, params)
    edits = editor(encoder, GraphDims.of([template]), is_residual=False).eval()
    assert_sensitive(edits, template, params)


@every_encoder
@pytest.mark.parametrize("case", ["inr", "skipping"])
def test_a_network_alone_gives_what_it_gives_in_a_batch(name, case):
    template = CASES[case]()
    model, params = classifier(make_encoder(name, template)), params_of(template)
    modes = [model.eval()] if name in ("dws", "hnp_plain_values") else [model.eval(), model.train()]
    for mode in modes:
        together = mode(template.stack(params))
        alone = torch.cat([mode(template.stack(row[None])) for row in params])
        assert_close(alone, together, rtol=1e-9, atol=1e-9)
        assert_close(mode(template.stack(params.flip(0))), together.flip(0), rtol=1e-9, atol=1e-9)


def test_batch_normalisation_is_what_looks_at_a_batch_in_training():
    template = CASES["inr"]()
    model, params = classifier(make_encoder("dws", template)).train(), params_of(template)
    together = model(template.stack(params))
    assert (model(template.stack(params[:2])) - together[:2]).abs().max() > 1e-3


@every_encoder
@pytest.mark.parametrize("case", ["inr", "skipping", "residual"])
def test_gradients_reach_every_parameter(name, case):
    template = CASES[case]()
    encoder, stack = make_encoder(name, template), template.stack(params_of(template, 12))
    models = classifier(encoder), editor(encoder, GraphDims.of([template]))
    for model, outputs in zip(models, (lambda y: y, lambda y: y.params), strict=True):
        model.zero_grad()
        outputs(model(stack)).square().sum().backward()
        for parameter_name, parameter in model.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.abs().max() > 0, parameter_name


@every_encoder
def test_statistics_and_frequencies_travel_with_the_checkpoint(name):
    template = CASES["inr"]()
    model, stack = classifier(make_encoder(name, template)), template.stack(params_of(template))
    torch.manual_seed(7)
    fresh = classifier(ENCODERS[name](template, None).double().eval())
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(stack), model(stack))


@every_encoder
def test_float32_agrees_with_float64(name):
    template = CASES["inr"]()
    model, params = classifier(make_encoder(name, template)), params_of(template)
    exact = model(template.stack(params))
    rounded = model.float()(template.stack(params.float()))
    assert rounded.dtype == torch.float32
    assert_close(rounded.double(), exact, rtol=1e-3, atol=1e-3)


@every_encoder
def test_graphs_of_another_kind_are_refused(name, raises_saying):
    template, other = CASES["inr"](), CASES["small"]()
    encoder, stack = make_encoder(name, template), template.stack(params_of(template))
    for graphs in (other.stack(params_of(other)), stack[0], Batch.from_data_list(list(stack))):
        with raises_saying(asked="stacks of graphs", found="this is a", do="stack method"):
            encoder(graphs)


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("np", "residual"),
        pytest.param("dws", "inr", marks=pytest.mark.slow),
        pytest.param("hnp_plain_values", "inr", marks=pytest.mark.slow),
    ],
)
def test_every_model_is_one_graph_for_the_compiler(name, case):
    assert_runs_in_own_process(compile_one, name, case)


def compile_one(name: str, case: str) -> None:
    """Compiles without code generation, forward and backward, and compares."""
    template = CASES[case]()
    model, stack = classifier(make_encoder(name, template)), template.stack(params_of(template))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    gradients = []
    for function in (model, compiled):
        model.zero_grad()
        outputs = function(stack)
        outputs.square().sum().backward()
        gradients.append([outputs, *(p.grad.clone() for p in model.parameters())])
    assert_close(*gradients)
