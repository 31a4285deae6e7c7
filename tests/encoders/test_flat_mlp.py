"""The flat baseline: normalised parameters through an MLP, and no symmetry."""

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from nn_graphs.encoders.flat_mlp import FlatMLP
from nn_graphs.encoders.statistics import GraphDims, WeightStatistics
from nn_graphs.testing import assert_invariant
from tests.encoders.cases import TEMPLATES, networks


def make_model(name: str, **options) -> tuple[FlatMLP, Tensor]:
    """A model in float64, normalised by the networks that come with it."""
    torch.manual_seed(0)
    template = TEMPLATES[name]()
    params = 3 + 2 * networks(template, 40)
    statistics = WeightStatistics.measure(GraphDims.of([template]), [(template, params)])
    return FlatMLP(template, statistics, out_dim=4, **options).double().eval(), params


@pytest.mark.parametrize("name", TEMPLATES)
def test_outputs_are_those_of_an_mlp_on_standardised_parameters(name):
    model, params = make_model(name, hidden_dims=(5, 3))
    template = TEMPLATES[name]()
    scaled = template.parameters.unflatten((params - model.mean) / model.std)
    for values in scaled.values():  # each tensor has statistics of its own
        assert abs(values.mean()) < 1e-5
        deviation = values.std(unbiased=False)
        assert abs(deviation - 1) < 1e-5 or deviation == 0  # one bias is zero in all networks
    first, second, last = (layer for layer in model.mlp if isinstance(layer, nn.Linear))
    inputs = torch.cat([values.flatten(1) for values in scaled.values()], dim=1)
    expected = last(torch.relu(second(torch.relu(first(inputs)))))
    outputs = model(template.stack(params))
    assert outputs.shape == (40, 4)
    assert_close(outputs, expected, rtol=1e-12, atol=1e-12)


def test_one_mean_and_deviation_per_tensor():
    model, _ = make_model("inr")
    for values in (model.mean, model.std):
        assert len(values.unique()) == 6


def test_without_statistics_parameters_stay_as_they_are():
    template = TEMPLATES["inr"]()
    model = FlatMLP(template, hidden_dims=(), out_dim=2)
    params = networks(template, 3).float()
    (linear,) = model.mlp
    assert_close(model(template.stack(params)), linear(params))


def test_sizes_and_dropout():
    model, params = make_model("inr", hidden_dims=(7, 6), dropout=0.5)
    sizes = [params.shape[1], 7, 6, 4]
    expected = sum((ins + 1) * outs for ins, outs in pairwise(sizes))
    assert sum(p.numel() for p in model.parameters()) == expected
    graphs = TEMPLATES["inr"]().stack(params)
    assert torch.equal(model(graphs), model(graphs))
    model.train()
    assert not torch.equal(model(graphs), model(graphs))


def test_gradients_reach_every_parameter():
    model, params = make_model("skipping", hidden_dims=(9, 8))
    model(TEMPLATES["skipping"]().stack(params)).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_a_network_alone_gives_what_it_gives_in_a_batch():
    model, params = make_model("skipping")
    template = TEMPLATES["skipping"]()
    alone = torch.cat([model(template.stack(row[None])) for row in params])
    assert_close(alone, model(template.stack(params)), rtol=1e-12, atol=1e-12)


def test_statistics_travel_with_the_checkpoint():
    model, params = make_model("inr")
    template = TEMPLATES["inr"]()
    fresh = FlatMLP(template, out_dim=4).double().eval()
    fresh.load_state_dict(model.state_dict())
    assert torch.equal(fresh(template.stack(params)), model(template.stack(params)))


def test_it_knows_no_symmetry():
    """The negative control of every other encoder."""
    model, params = make_model("inr")
    with pytest.raises(AssertionError, match="permutation"):
        assert_invariant(model, TEMPLATES["inr"](), params)
