"""What cannot be traced is told in one short error, whatever it is, and torch stays silent."""

import logging
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.tracing import trace
from tests.graphs.tracing.faithful import Written

POINTS = torch.zeros(5, 4)


def two(function, **parts) -> nn.Module:
    """A function between two linear layers."""
    layers = {"a": nn.Linear(4, 6), "b": nn.Linear(6, 2)}
    return Written(lambda m, x: m.b(function(m, m.a(x))), **layers, **parts)


def refusal(module: nn.Module, *inputs: torch.Tensor) -> NNGraphsError:
    with pytest.raises(NNGraphsError) as caught:
        trace(module, inputs)
    assert len(str(caught.value)) < 400
    return caught.value


OTHER_VALUES = {
    "long": lambda m, x: x.long().float(),
    "int8": lambda m, x: (4 * x).to(torch.int8).to(x.dtype),
    "bool": lambda m, x: x.bool().float(),
    "type of integers": lambda m, x: x.type_as(torch.ones(1, dtype=torch.long)).float(),
    "complex": lambda m, x: x.to(torch.complex64).real,
    "dropout that is on": lambda m, x: F.dropout(x, 0.5, training=True),
    "alpha dropout that is on": lambda m, x: F.alpha_dropout(x, 0.5, training=True),
    "noise": lambda m, x: x + torch.randn_like(x),
    "constant noise": lambda m, x: x * torch.rand(6),
    "random slopes": lambda m, x: F.rrelu(x, training=True),
    "largest channel": lambda m, x: x.argmax(-1, keepdim=True).to(x.dtype).expand(-1, 6),
    "a bias for all channels": lambda m, x: F.linear(x, m.w, m.c),
    "a vector for a matrix": lambda m, x: F.linear(x, m.v)[..., None].expand(-1, 6),
    "low rank": lambda m, x: F.linear(x, m.w + m.v[:, None] @ m.v[None]),
    "standardised weights": lambda m, x: F.linear(x, m.w - m.w.mean()),
    "a parameter under a mask": lambda m, x: torch.where(torch.arange(6) < 3, x, m.v),
    "division by nothing": lambda m, x: x / 0,
    "sorted": lambda m, x: x.sort(-1).values,
}


@pytest.mark.parametrize("name", OTHER_VALUES)
def test_what_a_graph_would_get_wrong_is_refused(name):
    own = {"w": random(6, 6), "v": random(6), "c": random(1)}
    error = refusal(two(OTHER_VALUES[name], **own), POINTS)
    assert "faithful.py, line" in error.asked  # that of the innermost forward
    assert "aten." in error.found


def random(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


def test_attention_with_dropout_that_is_on_is_refused():
    def forward(m, x):
        return F.scaled_dot_product_attention(x, x, x, dropout_p=0.5)

    error = refusal(Written(forward, a=nn.Linear(4, 4)), torch.zeros(2, 3, 4))
    assert "drops weights at random" in error.found


def test_a_first_state_that_tells_channels_apart_is_refused():
    def forward(m, x):
        return m.own(x, torch.arange(4.0).expand(1, 2, 4))[0]

    error = refusal(Written(forward, own=nn.GRU(4, 4, batch_first=True)), torch.zeros(2, 3, 4))
    assert "differs from channel to channel" in error.found


def test_deep_modules_and_long_lines_stay_short():
    error = refusal(nn.Sequential(nn.Linear(4, 4), Chain(30)), POINTS)
    assert "a_long_name" in error.asked


class Chain(nn.Module):
    """A module in a module in a module, at the end of which values are sorted."""

    def __init__(self, depth: int):
        super().__init__()
        self.a_long_name_of_a_submodule = Chain(depth - 1) if depth else None

    def forward(self, values):
        if self.a_long_name_of_a_submodule is None:
            return values.sort(-1).values
        return self.a_long_name_of_a_submodule(values)


class SomeCache:
    """An object that no tree of tensors holds."""


def test_a_cache_among_the_outputs_is_told():
    module = Written(lambda m, x: (m.a(x), SomeCache()), a=nn.Linear(4, 4))
    error = refusal(module, POINTS)
    assert "use_cache=False" in error.do


def test_a_rule_that_fails_is_told(monkeypatch):
    """Whatever a rule did not think of."""
    from nn_graphs.graphs.tracing import from_module

    def failing(tracer, node):
        raise KeyError("p_b")

    monkeypatch.setitem(from_module.RULES, torch.ops.aten.relu.default, failing)
    error = refusal(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), POINTS)
    assert error.found == "aten.relu.default: its rule does not know this use (KeyError)."


def noisy(m, x):
    warnings.warn("the module warns", stacklevel=1)
    logging.getLogger("torch.export").warning("torch logs")
    return m.a(x)


def test_torch_stays_silent(capfd):
    before = logging.root.manager.disable
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trace(Written(noisy, a=nn.Linear(4, 4)), POINTS)
        refusal(Written(lambda m, x: m.a(x) if x.sum() > 0 else x, a=nn.Linear(4, 4)), POINTS)
    assert not caught
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == before
