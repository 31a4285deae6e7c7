"""The axes of small networks by hand."""

import pytest

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.trace import trace
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import ARCHITECTURES
from tests.graphs.symmetry.drawn import TANH


def axes_of(spec: NetworkSpec) -> list[list[tuple[int | None, int]]]:
    return [
        [(segment.permutation, segment.length) for segment in axis]
        for axis in template_from_spec(spec).symmetries.axes
    ]


def test_axes_of_a_chain():
    spec = NetworkSpec.mlp((2, 5, 4, 1), activation=TANH)
    assert axes_of(spec) == [[(None, 2)], [(0, 5)], [(1, 4)], [(None, 1)]]
    assert template_from_spec(spec).symmetries.sizes == (5, 4)


def test_skips_tie():
    layers = (LayerSpec(4, TANH), LayerSpec(4, TANH), LayerSpec(4, TANH, skips=(1,)), LayerSpec(1))
    assert axes_of(NetworkSpec(2, layers)) == [
        [(None, 2)],
        [(0, 4)],
        [(1, 4)],
        [(0, 4)],
        [(None, 1)],
    ]


@pytest.mark.parametrize(
    ("widths", "first", "second"),
    [((5, 3), [(0, 3), (1, 2)], [(0, 3)]), ((3, 5), [(0, 3)], [(0, 3), (1, 2)])],
)
def test_unequal_widths_cut_segments(widths, first, second):
    layers = (LayerSpec(widths[0], TANH), LayerSpec(widths[1], TANH, skips=(1,)), LayerSpec(1))
    assert axes_of(NetworkSpec(2, layers)) == [[(None, 2)], first, second, [(None, 1)]]


def test_skips_from_inputs_and_to_outputs_fix():
    layers = (LayerSpec(4, TANH, skips=(0,)), LayerSpec(4, TANH), LayerSpec(3, skips=(2,)))
    assert axes_of(NetworkSpec(2, layers)) == [
        [(None, 2)],
        [(None, 2), (0, 2)],
        [(None, 3), (1, 1)],
        [(None, 3)],
    ]


def test_tied_weights_tie_axes():
    architecture = ARCHITECTURES["tied parameters"]
    template = trace(architecture.module(), architecture.example())
    assert template.symmetries.sizes == ()  # inputs, hence all that the square weight joins
    architecture = ARCHITECTURES["tied and summed"]
    template = trace(architecture.module(), architecture.example())
    assert template.symmetries.sizes == (4,)


def test_a_slice_cuts_the_axis_it_reads():
    architecture = ARCHITECTURES["first channels"]
    template = trace(architecture.module(), architecture.example())
    assert [segment.length for segment in template.symmetries.axes[1]] == [2, 2]
    assert len(template.symmetries.sizes) == 2
