"""The builder: what operations become."""

import pytest

from nn_graphs.graphs.builder import build_template
from nn_graphs.graphs.builder.operations import (
    Activate,
    Add,
    Input,
    Linear,
    Output,
    Resize,
    Scale,
    Shift,
)
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.parameters import ParameterLayout

RELU, SINE = Activation("relu"), Activation("sine", 2.0)


LAYOUT = ParameterLayout.from_shapes({"W": (4, 3), "b": (4,), "V": (2, 4), "c": (2,), "U": (4, 4)})
W, B, V, C, U = LAYOUT.slots


def groups_of(*operations) -> list[tuple]:
    template = build_template(operations, LAYOUT)
    return [(group.width, group.kind.name, group.activation.name) for group in template.groups]


INPUT, OUTPUT = (3, "INPUT", "none"), (2, "OUTPUT", "none")


@pytest.mark.parametrize(
    ("operations", "hidden"),
    [
        ([Linear(0, W, B), Activate(1, RELU)], ["relu"]),
        ([Linear(0, W, B), Activate(1, RELU), Activate(2, SINE)], ["relu", "sine"]),
        ([Linear(0, W, B), Shift(1, 1.0), Activate(2, RELU)], ["none", "relu"]),
        ([Linear(0, W, B), Activate(1, RELU), Shift(2, 1.0)], ["relu"]),
        ([Linear(0, W, B), Scale(1, 2.0), Activate(2, RELU)], ["none", "relu"]),
        ([Linear(0, W, B), Scale(1, 2.0), Activate(2, SINE)], ["sine"]),
        ([Linear(0, W, B), Linear(0, W, B), Add(1, 2), Activate(3, RELU)], ["none", "relu"]),
        ([Linear(0, W, B), Add(1, 1), Activate(2, RELU)], ["none", "relu"]),
        ([Linear(0, W, B), Activate(1, RELU), Linear(2, U, B), Add(2, 3)], ["relu", "none"]),
    ],
)
def test_what_becomes_a_group(operations, hidden):
    last = len(operations)
    found = groups_of(Input(3), *operations, Linear(last, V, C), Output(last + 1))
    assert found == [INPUT, *((4, "HIDDEN", name) for name in hidden), OUTPUT]


def test_factors_become_constants_of_edges_or_of_a_sine():
    operations = [Input(3), Linear(0, W, B), Scale(1, -2.0), Activate(2, RELU), Output(3)]
    template = build_template(operations, LAYOUT)
    assert [block.constant for block in template.blocks] == [1.0, -2.0]
    operations = [
        Input(3),
        Linear(0, W, B),
        Scale(1, 3.0),
        Scale(2, 5.0),
        Activate(3, SINE),
        Output(4),
    ]
    assert build_template(operations, LAYOUT).groups[1].activation == Activation("sine", 30.0)


def test_outputs_and_inputs_keep_the_network_s_order():
    operations = [
        Input(3),
        Input(4),
        Linear(0, W, B),
        Linear(1, V, C),
        Output(3),
        Output(2),
    ]
    template = build_template(operations, LAYOUT)
    assert [group.width for group in template.groups] == [3, 4, 2, 4]
    assert [group.first_neuron for group in template.groups] == [0, 3, 0, 2]
    assert template.num_neurons(NeuronKind.INPUT) == 7
    assert template.num_neurons(NeuronKind.OUTPUT) == 6
    assert template.num_hidden_groups == 0


def test_what_no_output_needs_is_left_out():
    operations = [Input(3), Linear(0, W, B), Linear(0, W, None), Linear(2, V, C), Output(3)]
    template = build_template(operations, LAYOUT)
    assert [group.width for group in template.groups] == [3, 4, 2]
    assert B not in template.places


def test_a_slice_reads_the_first_neurons_only():
    narrow = ParameterLayout.from_shapes({"W": (4, 3), "V": (2, 2)})
    first, second = narrow.slots
    operations = [
        Input(3),
        Linear(0, first, None),
        Resize(1, 2),
        Linear(2, second, None),
        Output(3),
    ]
    template = build_template(operations, narrow)
    assert template.blocks[1].num_sources == 2
    assert template.structure().edge_index[0, 12:].tolist() == [3, 4, 3, 4]


def test_a_linear_map_must_fit_its_input(raises_saying):
    with raises_saying(
        asked="apply V [2, 4]", found="its input has 3 channels", do="channels of one earlier value"
    ):
        build_template([Input(3), Linear(0, V, C), Output(1)], LAYOUT)
