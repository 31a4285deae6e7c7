"""Messages as matrices: each of them once, few and large ones where that costs little."""

import pytest
import torch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.topology.layered import LayeredTopology
from nn_graphs.graphs.topology.meetings import Meetings, meetings_of
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import NetworkSpec
from tests.encoders.cases import TEMPLATES


def mlp(*widths: int) -> GraphTemplate:
    return template_from_spec(NetworkSpec.mlp(widths, activation="relu"))


def topology_of(template: GraphTemplate, *, is_bidirectional: bool = True) -> LayeredTopology:
    topology = template.topology()
    return topology.bidirectional if is_bidirectional else topology


def assert_each_message_once(meetings: Meetings, topology: LayeredTopology) -> None:
    source, target = topology.structure.edge_index
    ends = [(target, source)] + [(source, target)] * topology.is_bidirectional
    found = []
    for meeting in meetings.matrices:
        rows, columns = (meeting.message < meeting.num_messages).nonzero().T
        number = meeting.message[rows, columns]
        found += number.tolist()
        for direction, (receiver, sender) in enumerate(ends):
            is_own = number // len(source) == direction
            edge = number[is_own] % len(source)
            assert torch.equal(meeting.receivers[rows[is_own]], receiver[edge])
            assert torch.equal(meeting.senders[columns[is_own]], sender[edge])
        there = [(edges < len(source)).sum() for edges in meeting.edges]
        assert sum(there) == len(number)
        assert min(there) > 0
    assert sorted(found) == [*range(len(source) * len(ends))]
    assert torch.equal(meetings.order[meetings.back], torch.arange(len(meetings.order)))
    assert sorted(meetings.order.tolist()) == [*range(len(meetings.order))]


@pytest.mark.parametrize("is_bidirectional", [False, True])
@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"skipping"}))
def test_each_message_is_in_one_matrix(name, is_bidirectional):
    topology = topology_of(TEMPLATES[name](), is_bidirectional=is_bidirectional)
    meetings = meetings_of(topology)
    assert meetings is not None
    assert_each_message_once(meetings, topology)


@pytest.mark.parametrize(
    ("template", "num_matrices", "num_silent"),
    [
        (mlp(2, 32, 32, 1), 2, 0),
        (template_from_spec(small_cnn_zoo_spec()), 2, 0),
        (mlp(4, 6, 5, 3, 2), 2, 0),
        (mlp(40, 2, 40, 2, 40, 2, 40, 2, 40, 2), 10, 0),
        (mlp(*[60] * 9), 9, 0),  # most of two sides would be empty
    ],
)
def test_sides_or_groups(template, num_matrices, num_silent):
    topology = topology_of(template)
    meetings = meetings_of(topology)
    assert len(meetings.matrices) == num_matrices
    assert meetings.num_silent == num_silent
    assert_each_message_once(meetings, topology)


def test_inputs_hear_nothing_where_messages_run_along_edges_alone():
    topology = topology_of(mlp(3, 5, 2), is_bidirectional=False)
    meetings = meetings_of(topology)
    assert meetings.num_silent == 3
    assert all(meeting.directions == (0,) for meeting in meetings.matrices)


def test_two_edges_between_two_neurons():
    """A skip beside a matrix."""
    topology = topology_of(TEMPLATES["skipping"]())
    assert topology.structure.edge_index.unique(dim=1).shape != topology.structure.edge_index.shape
    assert meetings_of(topology) is None


def test_matrices_that_would_be_mostly_empty(monkeypatch):
    monkeypatch.setattr("nn_graphs.graphs.topology.meetings.MOST_CELLS", 0.5)
    monkeypatch.setattr("nn_graphs.graphs.topology.meetings.CELLS_OF_A_MATRIX", 0)
    assert meetings_of(topology_of(mlp(2, 7, 3))) is None


def test_matrices_are_found_once():
    topology = topology_of(mlp(2, 5, 3))
    assert meetings_of(topology) is meetings_of(topology)


def test_messages_into_outputs_alone():
    assert meetings_of(topology_of(mlp(2, 5, 3)).into_outputs()) is None
