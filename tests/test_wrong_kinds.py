"""What is given instead of a network is told; without the checks of shapes, as users run it."""

import re

import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import extract_graph
from nn_graphs.graphs.tracing import trace
from tests.processes import assert_runs_in_own_process


def test_what_is_no_network():
    assert_runs_in_own_process(give_what_is_no_network)


def give_what_is_no_network() -> None:
    module = nn.Linear(2, 3)
    template = trace(module, torch.zeros(1, 2))
    for give, found in (
        (lambda: trace(nn.Linear, torch.zeros(1, 2)), "this is the class Linear"),
        (lambda: trace("net.pth", torch.zeros(1, 2)), "this is a str"),
        (lambda: trace(module, None), "inputs (NoneType)"),
        (lambda: trace(module, ()), "inputs (nothing)"),
        (lambda: extract_graph(nn.Linear, torch.zeros(1, 2)), "Linear'>, no torch module"),
        (lambda: template("net.pth"), "this is a str"),
        (lambda: template(None), "this is a NoneType"),
    ):
        with pytest.raises(NNGraphsError, match=re.escape(found)):
            give()
