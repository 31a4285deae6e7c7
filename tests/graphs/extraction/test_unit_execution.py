"""What is told where a graph cannot be run."""

import pytest
import torch
from torch import nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.extraction import extract_graph, node_values, run_graph


def test_a_coarse_graph_cannot_be_run():
    graph = extract_graph(nn.Linear(3, 2), torch.zeros(1, 3), level="neuron")
    with pytest.raises(NNGraphsError, match="level 'unit'"):
        run_graph(graph, torch.zeros(1, 3))


@pytest.mark.parametrize("inputs", [(), (torch.zeros(2, 4),), (torch.zeros(2, 3),) * 2])
def test_inputs_of_other_shapes_are_told(inputs):
    graph = extract_graph(nn.Linear(3, 2), torch.zeros(1, 3))
    with pytest.raises(NNGraphsError, match=r"inputs are \[1, 3\]"):
        run_graph(graph, *inputs)


def test_values_of_all_nodes():
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)).double()
    inputs = torch.randn(5, 3).double()
    values = node_values(extract_graph(module, inputs), inputs)
    torch.testing.assert_close(torch.from_numpy(values[3:5].T), module[:2](inputs).detach())
    torch.testing.assert_close(torch.from_numpy(values[5:].T), module(inputs).detach())
