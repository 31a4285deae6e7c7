"""StatNN: the statistics by torch's own functions, standardisation, and what it cannot see."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from torch_geometric.data import Batch

from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.encoders.statnn import QUANTILES, StatNN, tensor_statistics
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.testing import assert_batch_independent, assert_invariant, assert_sensitive
from tests.encoders.cases import TEMPLATES, inr, networks

ALL = [make() for make in TEMPLATES.values()]
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def training_batches() -> list:
    return [template.stack(3 + 2 * networks(template, 20, seed=9)) for template in ALL]


def make_model(**options) -> StatNN:
    """A model of all templates at once, in float64."""
    torch.manual_seed(0)
    options = {"hidden_dims": (6, 5), "out_dim": 4} | options
    return StatNN(ALL, training_batches(), **options).double().eval()


def by_torch(values: Tensor) -> Tensor:
    """The statistics of one tensor of one network."""
    flat = values.flatten()
    quantiles = torch.quantile(flat, torch.tensor(QUANTILES, dtype=flat.dtype))
    return torch.cat([flat.mean()[None], flat.var(correction=0)[None], quantiles])


def expected_statistics(template: GraphTemplate, params: Tensor) -> Tensor:
    """`[N, tensors, 7]` of a chain with biases: all weights, then all biases."""
    tensors = template.parameters.unflatten(params)
    names = sorted(tensors, key=lambda name: (not name.endswith("weight"), name))
    return torch.stack(
        [torch.stack([by_torch(tensors[name][n]) for name in names]) for n in range(len(params))]
    )


@pytest.mark.parametrize("name", ["inr", "small", "linear_map"])
def test_statistics_of_a_chain(name):
    template = TEMPLATES[name]()
    params, dims = networks(template, 5), GraphDims.of([template])
    stack = template.stack(params)
    for graphs in (stack, Batch.from_data_list(list(stack))):
        values, is_there = tensor_statistics(graphs, dims)
        assert_close(values, expected_statistics(template, params), **EXACT)
        assert is_there.all()


def test_what_a_network_does_not_have():
    """`skipping` has the most layers, one of them without a bias; the INR 2-3-2 has but two."""
    dims = GraphDims.of(ALL)
    there = {}
    for name, template in zip(TEMPLATES, ALL, strict=True):
        stack = template.stack(networks(template, 2))
        values, is_there = tensor_statistics(stack, dims)
        as_batch, is_there_too = tensor_statistics(Batch.from_data_list(list(stack)), dims)
        assert torch.equal(is_there, is_there_too)
        assert_close(values[is_there], as_batch[is_there], **EXACT)
        there[name] = is_there[0].int().tolist()
    assert there["skipping"] == [1, 1, 1, 1, 1, 1, 0, 1, 1, 1]
    assert there["small"] == [1, 0, 0, 0, 1, 1, 0, 0, 0, 1]
    assert there["linear_map"] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_skips_are_no_weights():
    """Values of constant edges count in no statistic."""
    template = TEMPLATES["skipping"]()
    params, dims = networks(template, 3), GraphDims.of([template])
    values, is_there = tensor_statistics(template.stack(params), dims)
    names = [f"layers.{i}.weight" for i in range(5)] + [f"layers.{i}.bias" for i in (0, 2, 3, 4)]
    tensors = template.parameters.unflatten(params)
    expected = torch.stack([by_torch(tensors[name][1]) for name in names])
    assert_close(values[1][is_there[1]], expected, **EXACT)


def test_features_of_training_networks_are_standardised():
    model, found = make_model(), []
    model.mlp = nn.Identity()
    for graphs in training_batches():
        found.append(model(graphs).unflatten(1, model.mean.shape))
    there = torch.cat([tensor_statistics(g, model.dims)[1] for g in training_batches()])
    features = torch.cat(found)
    assert (features[~there] == 0).all()
    num_constant = 0
    for tensor in range(there.shape[1]):
        present = features[:, tensor][there[:, tensor]]
        assert present.mean(0).abs().max() < 1e-5
        deviation = present.std(dim=0, correction=0)
        num_constant += int((deviation == 0).sum())
        assert ((deviation - 1).abs() < 1e-5)[deviation > 0].all()
    assert 0 < num_constant < 10  # such as the variance of a layer's only bias


def test_without_training_graphs_features_stay_as_they_are():
    template = inr(2, 5, 4, 2)
    model, params = StatNN([template], out_dim=3, hidden_dims=()).double(), networks(template, 3)
    (linear,) = model.mlp
    expected = linear(expected_statistics(template, params).flatten(1))
    assert_close(model(template.stack(params)), expected)


def test_published_sizes():
    template = inr(2, 32, 32, 1)
    model = StatNN([template], out_dim=10)
    sizes = [2 * 3 * 7, 1000, 1000, 10]
    count = sum((ins + 1) * outs for ins, outs in pairwise(sizes))
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize("template", ALL[:3], ids=list(TEMPLATES)[:3])
def test_permutations_change_nothing_and_signs_do(template):
    model, params = make_model(), networks(template, 3)
    generator = torch.Generator().manual_seed(5)
    assert_invariant(model, template, params, generator=generator)
    if template is not ALL[1]:  # relu allows no sign
        with pytest.raises(AssertionError, match="sign"):
            assert_invariant(model, template, params, kinds=["sign"], generator=generator)


def test_how_neurons_are_joined_is_not_seen():
    """Why statistics are no encoder of graphs."""
    with pytest.raises(AssertionError, match="does not see how neurons are joined"):
        assert_sensitive(make_model(), ALL[0], networks(ALL[0], 3))


def test_a_network_does_not_see_its_batch():
    stacks = [template.stack(networks(template, 2)) for template in ALL]
    assert_batch_independent(make_model(), stacks)


def test_gradients_reach_every_parameter_and_dropout_works():
    model = make_model(hidden_dims=(32, 32), dropout=0.5)
    stack = ALL[0].stack(networks(ALL[0], 6))
    model(stack).square().sum().backward()
    assert all(p.grad.abs().max() > 0 for p in model.parameters())
    model.train()
    assert not torch.equal(model(stack), model(stack))


def test_standardisation_travels_with_the_checkpoint():
    model, stack = make_model(), ALL[0].stack(networks(ALL[0], 4))
    fresh = StatNN(ALL, hidden_dims=(6, 5), out_dim=4).double().eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(stack), model(stack))
