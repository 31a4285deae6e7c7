"""ScaleGMN: every group action, in both precisions; what overflows; a layer by hand."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from nn_graphs.encoders.editor import Editor
from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.neuron_factors import NeuronFactors, unit
from nn_graphs.encoders.scale_features import balanced, neuron_sizes
from nn_graphs.encoders.scale_head import ScaleParameterHead
from nn_graphs.encoders.scalegmn import ScaleGMN
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.execution import network_outputs
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.symmetry import apply_symmetries, sample_symmetries
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.cnn import wild_park_spec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.testing import assert_equivariant, assert_invariant
from tests.encoders.cases import (
    RELU,
    SINE,
    TANH,
    classifier,
    networks,
    randomise,
    skipping,
)


def mlp(activation: Activation, *layout: int) -> GraphTemplate:
    return template_from_spec(NetworkSpec.mlp(layout, activation=activation))


TEMPLATES = {
    "sine": lambda: mlp(SINE, 2, 5, 4, 3),
    "tanh": lambda: mlp(TANH, 3, 5, 2),
    "relu": lambda: mlp(RELU, 2, 5, 4, 3),
    "identity": lambda: mlp(Activation("none"), 2, 4, 3),  # signs and scales of one neuron
    "skipping": skipping,
    "cnn": lambda: template_from_spec(
        wild_park_spec((2, 3, 4), (3, 1), activations=("relu", "tanh"), num_outputs=3)
    ),
}
FORMS = {
    "both_ways": {},
    "forward": {"is_bidirectional": False, "scale_form": "published"},
    "balanced_forward": {"is_bidirectional": False},
    "reciprocal": {"scale_form": "reciprocal"},
    "plain_sums": {"sums": "plain"},
    "nets": {"messages": "nets"},
    "nets_reciprocal": {"messages": "nets", "scale_form": "reciprocal"},
    "symmetrised": {"messages": "nets", "invariants": "symmetrised"},
}
KINDS = ("permutation", "sign", "scale")
every_template = pytest.mark.parametrize("case", TEMPLATES)
every_form = pytest.mark.parametrize("form", FORMS)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def make(template: GraphTemplate, **options) -> ScaleGMN:
    torch.manual_seed(0)
    dims = GraphDims.of([template])
    statistics = WeightStatistics.measure(dims, [(template, some(template, 6, seed=9))])
    encoder = ScaleGMN([template], statistics, **{"dim": 8, "num_layers": 3} | options)
    randomise(encoder)
    return encoder.double().eval()


def some(template: GraphTemplate, count: int, *, seed: int = 0) -> Tensor:
    """Networks without zeros among their weights: reciprocals know of no limit there."""
    generator = torch.Generator().manual_seed(seed)
    params = torch.rand(count, template.num_params, dtype=torch.float64, generator=generator)
    signs = 2.0 * torch.randint(2, params.shape, generator=generator) - 1
    return (0.2 + params) * signs / 2


def make_editor(template: GraphTemplate, *, is_residual: bool = True, **options) -> Editor:
    encoder = make(template, **options)
    dims = encoder.features.dims
    statistics = WeightStatistics.measure(dims, [(template, some(template, 6, seed=9))])
    head = encoder.parameter_head(8, 8, dims=dims, statistics=statistics, is_residual=is_residual)
    randomise(head.double())
    return Editor(encoder, head)


def classes_of(encoder: ScaleGMN) -> GraphModel:
    return classifier(encoder, encoder.features.dims, "mean", layer="all").eval()


@every_template
@every_form
def test_no_group_action_changes_an_invariant(case, form):
    template = TEMPLATES[case]()
    model = classes_of(make(template, **FORMS[form]))
    params = some(template, 3)
    assert_invariant(model, template, params, kinds=KINDS, generator=generator())
    of_edges = classifier(model.encoder, model.encoder.features.dims, "mean_edge")
    assert_invariant(of_edges, template, params, kinds=KINDS, generator=generator())


@every_template
@pytest.mark.parametrize("is_residual", [False, True])
@pytest.mark.parametrize("form", ["both_ways", "forward", "nets"])
def test_new_parameters_follow_every_group_action(case, form, is_residual):
    template = TEMPLATES[case]()
    editor = make_editor(template, is_residual=is_residual, **FORMS[form])
    assert_equivariant(
        lambda graphs: template.stack(editor(graphs).squeeze(1)),
        template,
        some(template, 3),
        kinds=KINDS,
        generator=generator(),
    )


@every_template
@pytest.mark.parametrize("kind", KINDS)
def test_group_actions_in_single_precision(case, kind):
    template = TEMPLATES[case]()
    model = classes_of(make(template)).float()
    params = some(template, 3).float()
    element = sample_symmetries(template, 3, kinds=[kind], generator=generator())
    before = model(template.stack(params))
    after = model(template.stack(apply_symmetries(template, params, element)))
    assert before.dtype == torch.float32
    assert_close(after, before, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("case", "kind"), [("sine", "sign"), ("relu", "scale")])
def test_factors_of_one_side_of_a_neuron_are_seen(case, kind):
    template = TEMPLATES[case]()
    model, params = classes_of(make(template)), some(template, 3)
    element = sample_symmetries(
        template, 3, kinds=[kind], generator=generator(), dtype=torch.float64
    )
    stack = template.stack(params)
    only_biases = stack.node_features * element.factor.unsqueeze(-1)
    changed = model(stack.with_features(only_biases, stack.edge_features))
    assert (changed - model(stack)).abs().amax(1).min() > 1e-6


def test_the_published_form_both_ways_sees_scales():
    template, params = TEMPLATES["relu"](), some(TEMPLATES["relu"](), 3)
    for messages in ("products", "nets"):
        model = classes_of(make(template, scale_form="published", messages=messages))
        assert_invariant(model, template, params, kinds=["permutation", "sign"])
        with pytest.raises(AssertionError, match="after a scale of neurons"):
            assert_invariant(model, template, params, kinds=["scale"], tolerance=1e-5)


def test_reciprocals_overflow_where_weights_are_tiny_and_balanced_networks_do_not():
    """Some weights of the Small CNN Zoo are 1.2e-15, and some are zero."""
    template = TEMPLATES["relu"]()
    params = some(template, 4).float()
    params[:, ::3] = 1.2e-15
    params[:, 1::7] = 0

    def gradients(scale_form: str) -> Tensor:
        model = classes_of(make(template, scale_form=scale_form, num_layers=4)).float()
        model(template.stack(params)).sum().backward()
        return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    assert not gradients("reciprocal").isfinite().all()
    assert gradients("balanced").isfinite().all()
    model = classes_of(make(template)).float()
    element = sample_symmetries(template, 4, kinds=["scale"], generator=generator())
    moved = apply_symmetries(template, params, element)
    assert_close(model(template.stack(moved)), model(template.stack(params)), rtol=1e-3, atol=1e-4)


def test_networks_whose_parameters_are_zero():
    for case in ("sine", "relu", "identity"):
        template = TEMPLATES[case]()
        for options in ({}, FORMS["forward"], FORMS["nets"]):
            model = classes_of(make(template, **options))
            outputs = model(template.stack(torch.zeros(2, template.num_params).double()))
            outputs.sum().backward()
            assert outputs.isfinite().all()
            grads = [p.grad for p in model.parameters() if p.grad is not None]
            assert all(grad.isfinite().all() for grad in grads)


def test_units_know_nothing_of_scale():
    values = torch.randn(4, 6, dtype=torch.float64)
    for factor in (1e-200, 1.0, 1e200):
        assert_close(unit(values * factor), unit(values), rtol=1e-12, atol=0)
    assert_close(unit(values).square().mean(-1), torch.ones(4, dtype=torch.float64))
    assert (unit(torch.zeros(2, 3)) == 0).all()


def test_sizes_of_neurons_and_balanced_weights_by_hand():
    """Means of absolute values; a source's size is a factor, and outputs have the size 1."""
    template = mlp(RELU, 2, 2, 1)
    params = torch.tensor([[1.0, -3.0, 0.0, 0.0, 2.0, 0.0, 5.0, -7.0, 4.0]], dtype=torch.float64)
    stack = template.stack(params)
    factors = NeuronFactors.of(stack)
    sizes = neuron_sizes(stack, stack.edge_features, stack.node_features, factors)
    assert sizes.flatten().tolist() == [1, 1, 2, 1, 1]  # (1 + 3 + 2) / 3; nothing reaches the other
    found = balanced(stack, stack.edge_features, sizes)
    assert found.flatten().tolist() == [0.5, -1.5, 0, 0, 10, -7]
    batch = stack.to_batch()
    of_batch = neuron_sizes(
        batch, batch.edge_features, batch.node_features, NeuronFactors.of(batch)
    )
    assert torch.equal(of_batch, sizes[0])


def test_a_layer_by_sums_over_edges():
    """`x + (W z + b where fixed) * f(|z|)` with `z = [x, sum w A x / root of how many, back]`."""
    template = TEMPLATES["sine"]()
    encoder, stack = make(template, num_layers=1), template.stack(some(template, 1))
    (layer,), structure = encoder.layers, template.structure()
    factors = NeuronFactors.of(stack)
    features = encoder.features
    nodes = features.nodes(stack, features.biases(stack), factors)[0]
    along, against = layer.from_source(nodes).chunk(2, dim=-1)
    weights = features.weights(stack)[0, :, 0]
    sums = torch.zeros(2, template.num_nodes, 8, dtype=torch.float64)
    source_ids, target_ids = structure.edge_index
    for (source, target), weight in zip(structure.edge_index.T.tolist(), weights, strict=True):
        fan_in, fan_out = (target_ids == target).sum(), (source_ids == source).sum()
        sums[0, target] += weight * along[source] / fan_in.double().sqrt()
        sums[1, source] += weight * against[target] / fan_out.double().sqrt()
    received = torch.cat([nodes, *sums], dim=-1)
    is_hidden = (structure.kind_id == 1).unsqueeze(1)
    update = layer.update
    moved = update.linear(received) + torch.where(is_hidden, 0.0, update.fixed_bias)
    seen = torch.where(is_hidden, received.abs(), received)
    states = nodes + moved * update.gate(seen)
    assert_close(encoder(stack, reads="states").nodes[0], states, rtol=1e-10, atol=1e-12)
    readout = encoder.node_readout.net(torch.where(is_hidden, states.abs(), states))
    assert_close(encoder(stack).nodes[0], readout, rtol=1e-10, atol=1e-12)


def test_states_are_those_of_the_network_and_not_of_its_balanced_form():
    template = TEMPLATES["relu"]()
    encoder, params = make(template), some(template, 2)
    element = sample_symmetries(
        template, 2, kinds=["scale"], generator=generator(), dtype=torch.float64
    )
    before = encoder(template.stack(params), reads="states").nodes
    after = encoder(template.stack(apply_symmetries(template, params, element)), reads="states")
    assert_close(after.nodes, before * element.factor.unsqueeze(-1), rtol=1e-9, atol=1e-12)


def test_a_head_learns_from_every_parameter():
    for case in ("sine", "relu", "cnn"):
        editor = make_editor(TEMPLATES[case]())
        template = TEMPLATES[case]()
        editor(template.stack(some(template, 6))).square().sum().backward()
        names = [name for name, p in editor.named_parameters() if p.grad is None]
        assert all("readout" in name for name in names)


def widened(
    params: Tensor, layout: tuple[int, ...], copies: int, kind: str
) -> tuple[GraphTemplate, Tensor]:
    """Networks whose hidden neurons are so many copies, with weights that share the old ones."""
    spec = NetworkSpec.mlp(layout, activation=RELU)
    wide = [layout[0], *(width * copies for width in layout[1:-1]), layout[-1]]
    old, generator = spec.parameters.unflatten(params), torch.Generator().manual_seed(3)
    parts = []
    for number, (name, tensor) in enumerate(old.items()):
        layer = number // 2
        k_in = 1 if layer == 0 else copies
        k_out = 1 if layer == len(layout) - 2 else copies
        if name.endswith("bias"):
            parts.append(tensor.repeat_interleave(k_out, dim=1))
            continue
        shape = (*tensor.shape, k_out, k_in)
        shares = torch.full(shape, 1 / k_in, dtype=torch.float64)
        if kind == "general":
            noise = torch.randn(shape, dtype=torch.float64, generator=generator)
            shares = shares + noise - noise.mean(-1, keepdim=True)
        blocks = (tensor[..., None, None] * shares).transpose(2, 3)
        parts.append(blocks.flatten(3).flatten(1, 2).flatten(1))
    return mlp(RELU, *wide), torch.cat(parts, dim=1)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("uniform", {}),
        ("uniform", {"scale_form": "published"}),
        ("uniform", {"is_bidirectional": False}),
        ("general", {"is_bidirectional": False, "scale_form": "published"}),
    ],
)
def test_copies_of_neurons_that_share_their_weights_change_nothing(kind, options):
    layout = (2, 5, 4, 3)
    narrow, params = mlp(RELU, *layout), some(mlp(RELU, *layout), 3)
    wide, copies = widened(params, layout, 3, kind)
    points = torch.randn(7, 2, dtype=torch.float64)
    outputs = network_outputs(narrow.stack(params), points)
    assert_close(network_outputs(wide.stack(copies), points), outputs, rtol=1e-9, atol=1e-9)
    found = {}
    for sums in ("plain", "rooted"):
        encoder = make(narrow, sums=sums, **options)
        model = classifier(encoder, encoder.features.dims, "cat_mean").eval()
        before, after = model(narrow.stack(params)), model(wide.stack(copies))
        found[sums] = ((after - before).abs().max() / before.abs().max()).item()
    assert found["plain"] < 1e-9
    assert found["rooted"] > 1e-3


def test_networks_without_signs_and_scales(raises_saying):
    template = mlp(Activation("gelu"), 2, 4, 3)
    with raises_saying(asked="make a ScaleGMN", found="gelu", do="NGGNN"):
        ScaleGMN([template])
    ScaleGMN([template, TEMPLATES["sine"]()])  # of a mix, some have them


def test_a_graph_that_does_not_tell(raises_saying):
    template = TEMPLATES["sine"]()
    graph = template(some(template, 1)[0])
    own = NeuralGraph.make(
        graph.structure, node_features=graph.node_features, edge_features=graph.edge_features
    )
    with raises_saying(asked="sign or scale", found="factor_id", do="template"):
        make(template)(own)


def test_a_tied_neuron_may_do_what_all_of_its_group_may():
    """relu tied to tanh by a skip: nothing but a permutation; what is left of tanh has signs."""
    template = skipping()
    ids = template.factor_id().tolist()
    of_group = [ids[group.start : group.stop] for group in template.groups]
    assert of_group[1] == [0] * 4
    assert of_group[2][:4] == [0] * 4
    assert of_group[2][4:] == [1] * 2
    assert template.factors == (True, 2 in ids or 3 in ids)
    graphs: NeuralGraphStack = replace(template.stack(networks(template, 1)))
    assert NeuronFactors.of(graphs).is_fixed.flatten().tolist() == [n == 0 for n in ids]
    assert ScaleGMN.parameter_head is ScaleParameterHead
