"""Ties: which neurons move together, cut by cut and block by block."""

import random

import numpy as np
import pytest

from nn_graphs.graphs.symmetry import Segment, Symmetries
from nn_graphs.graphs.symmetry.axis_ties import AxisTies
from nn_graphs.graphs.tracing import trace
from tests.graphs.convolutional import CASES


def axes_of(name: str) -> list:
    case = CASES[name]
    return [list(axis) for axis in trace(case.module(), case.inputs()).symmetries.axes]


def test_neurons_without_ties_move_freely_between_cuts():
    ties = AxisTies([4, 3])
    ties.cut(0, 1)
    ties.cut(0, 4)
    ties.fix(1)
    assert ties.axes() == ((Segment(0, 1), Segment(1, 3)), (Segment(None, 3),))


def test_a_join_is_a_sequence_of_segments():
    ties = AxisTies([2, 3, 7])
    ties.tie(2, 0, length=2)
    ties.tie(2, 1, length=3, first=2)
    ties.tie(2, 0, length=2, first=5)
    first, second = Segment(0, 2), Segment(1, 3)
    assert ties.axes() == ((first,), (second,), (first, second, first))


def test_copies_stay_with_their_neuron():
    ties = AxisTies([3, 6])
    ties.tie(1, 0, length=6, repeat=2)
    assert ties.axes() == ((Segment(0, 3),), (Segment(0, 3, repeat=2),))


def test_blocks_move_as_wholes_and_inside():
    ties = AxisTies([6, 4])
    items = ties.new_items(2)
    ties.nest(0, items, first=0, length=6)
    ties.nest(1, items, first=0, length=4)
    assert ties.axes() == (
        (Segment(0, 2, inner=(Segment(1, 3),)),),
        (Segment(0, 2, inner=(Segment(2, 2),)),),
    )


def test_blocks_of_one_neuron_are_ties():
    ties = AxisTies([4, 8])
    items = ties.new_items(4)
    ties.nest(0, items, first=0, length=4)
    ties.nest(1, items, first=0, length=8)
    assert ties.axes() == ((Segment(0, 4),), (Segment(0, 4, inner=(Segment(1, 2),)),))


def test_blocks_in_blocks():
    ties = AxisTies([8])
    for number in (2, 4):
        ties.nest(0, ties.new_items(number), first=0, length=8)
    pairs = Segment(1, 2, inner=(Segment(2, 2),))
    assert ties.axes() == ((Segment(0, 2, inner=(pairs,)),),)


def test_the_same_blocks_twice_are_the_same_blocks():
    ties = AxisTies([6])
    for _ in range(2):
        ties.nest(0, ties.new_items(3), first=0, length=6)
    assert ties.axes() == ((Segment(0, 3, inner=(Segment(1, 2),)),),)


def test_blocks_that_overlap_do_not_move():
    ties = AxisTies([6])
    ties.nest(0, ties.new_items(2), first=0, length=6)
    ties.nest(0, ties.new_items(3), first=0, length=6)
    assert all(segment.permutation is None for segment in ties.axes()[0])


def test_a_neuron_in_two_blocks_is_not_like_one_in_the_smaller_alone():
    """Rows {0, 1} and {1, 2} of three channels: only the whole could be mirrored."""
    ties = AxisTies([3, 2])
    first, second = (ties.elements(0, np.array(pair)) for pair in ((0, 1), (1, 2)))
    rows, heads = np.stack([first, second]), ties.elements(1, np.arange(2))
    ties.nest_shared(rows, heads, np.array([0, 1]))
    assert all(size == 1 for size in Symmetries(ties.axes()).sizes)


def test_those_who_follow_share_the_order_of_their_leader():
    """Two groups of two heads of three channels, which follow three channels of each group."""
    ties = AxisTies([6, 4, 12])
    shared, heads = ties.elements(0, np.arange(6)).reshape(2, 3), ties.elements(1, np.arange(4))
    own = ties.elements(2, np.arange(12)).reshape(4, 3)
    ties.nest_shared(shared, heads, np.array([0, 0, 1, 1]))
    ties.nest_elements(own, np.repeat(heads, 3).reshape(4, 3))
    ties.follow(own, shared.repeat(2, axis=0))
    inner = Segment(1, 3)
    assert ties.axes() == (
        (Segment(0, 2, inner=(inner,)),),
        (Segment(0, 2, inner=(Segment(2, 2),)),),
        (Segment(0, 2, inner=(Segment(2, 2, inner=(inner,)),)),),
    )
    symmetries = Symmetries(ties.axes())
    assert (symmetries.sizes, symmetries.num_copies) == ((2, 3, 2), (1, 2, 2))


def test_a_leader_in_a_block_of_its_own_stays():
    """Control: the order inside one of two blocks cannot be kept by neurons of no block."""
    ties = AxisTies([4, 4, 2])
    blocks = np.repeat(ties.elements(2, np.arange(2)), 2)
    ties.nest_elements(ties.elements(0, np.arange(4)), blocks)
    ties.follow(ties.elements(1, np.arange(4)), ties.elements(0, np.arange(4)))
    axes = ties.axes()
    assert all(segment.permutation is None for segment in axes[1])


def test_a_block_around_a_fixed_neuron_stays():
    ties = AxisTies([1, 6])
    ties.nest(1, ties.new_items(2), first=0, length=6)
    ties.tie(0, 1, length=1)
    ties.fix(0)
    axis = ties.axes()[1]
    assert [segment.length for segment in axis] == [1, 1]
    assert axis[0].permutation is None
    first, second = (segment.inner for segment in axis)
    assert [segment.length for segment in first] == [1, 2]
    assert first[0].permutation is None
    assert first[1].permutation != second[0].permutation


def test_neurons_in_another_order_do_not_move():
    """Control: a shuffle of channels cannot be written as segments; nothing is claimed then."""
    ties = AxisTies([2, 2])
    ties.tie(1, 0, length=1, other_first=1)
    ties.tie(1, 0, length=1, first=1)
    assert all(segment.permutation is None for axis in ties.axes() for segment in axis)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("groups", [Segment(1, 4, inner=(Segment(2, 3),))]),
        ("depthwise", [Segment(0, 8)]),
        ("depthwise to more", [Segment(0, 8, inner=(Segment(1, 2),))]),
    ],
)
def test_channels_of_grouped_convolutions(name, expected):
    assert expected in [
        [Segment(*_renumbered(segment, expected)) for segment in axis] for axis in axes_of(name)
    ]


def _renumbered(segment: Segment, expected: list[Segment]) -> tuple:
    """A segment with the numbers that are expected, where its form is the same."""
    inner = tuple(
        Segment(own.permutation, found.length)
        for own, found in zip(expected[0].inner, segment.inner, strict=False)
    )
    number = None if segment.permutation is None else expected[0].permutation
    return number, segment.length, segment.repeat, inner


# Ties against a union-find over single neurons.


def random_ties(seed: int) -> tuple[list[int], list[tuple[int, int, int]], list[int], list[tuple]]:
    """Widths, ties `(group, other, length)`, fixed groups and cuts `(group, position)`."""
    draw = random.Random(seed)
    widths = [draw.randint(1, 8) for _ in range(draw.randint(2, 6))]
    groups = range(len(widths))
    pairs = [(draw.choice(groups), draw.choice(groups)) for _ in range(draw.randint(0, 8))]
    ties = [(a, b, draw.randint(1, min(widths[a], widths[b]))) for a, b in pairs]
    fixed = [group for group in groups if draw.random() < 0.15]
    cut = [group for group in groups if draw.random() < 0.2]
    return widths, ties, fixed, [(group, draw.randint(0, widths[group])) for group in cut]


def classes_of(widths: list[int], ties: list[tuple[int, int, int]]) -> dict[tuple, frozenset]:
    """Which neurons `(group, place)` each neuron is tied to, itself included."""
    classes = {(g, i): frozenset([(g, i)]) for g, width in enumerate(widths) for i in range(width)}
    for group, other, length in ties:
        for place in range(length):
            union = classes[group, place] | classes[other, place]
            for neuron in union:
                classes[neuron] = union
    return classes


@pytest.mark.parametrize("block", range(10))
def test_ties_against_brute_force(block):
    for seed in range(100 * block, 100 * block + 100):
        widths, ties, fixed, cuts = random_ties(seed)
        steps = [("tie", tie) for tie in ties] + [("fix", (group,)) for group in fixed]
        steps += [("cut", cut) for cut in cuts]
        random.Random(seed).shuffle(steps)
        axes = AxisTies(widths)
        for kind, (*arguments,) in steps:
            if kind == "tie":
                axes.tie(*arguments[:2], length=arguments[2])
            else:
                getattr(axes, kind)(*arguments)
        check_axes(axes.axes(), widths, ties, fixed, cuts)


def check_axes(axes, widths, ties, fixed, cuts) -> None:
    classes = classes_of(widths, ties)
    found, segment_of = {}, {}  # what moves a neuron, and which segment it lies in
    for group, axis in enumerate(axes):
        assert sum(segment.length for segment in axis) == widths[group]
        place = 0
        for number, segment in enumerate(axis):
            for step in range(segment.length):
                is_fixed = segment.permutation is None
                found[group, place] = None if is_fixed else (segment.permutation, step)
                segment_of[group, place] = number
                place += 1
    for neuron, tied in classes.items():
        is_fixed = any(group in fixed for group, _ in tied)
        assert (found[neuron] is None) == is_fixed
        for other, other_tied in classes.items():
            if not is_fixed and found[other] is not None:
                assert (found[neuron] == found[other]) == (tied == other_tied)
    for group, place in classes:
        if place + 1 < widths[group] and found[group, place] is not None:
            groups, next_groups = ({g for g, _ in classes[group, p]} for p in (place, place + 1))
            is_cut = any((g, place + 1) in cuts for g in groups)
            together = segment_of[group, place] == segment_of[group, place + 1]
            assert together == (groups == next_groups and not is_cut)


def test_segments_are_numbered_in_order_of_appearance():
    axes = AxisTies([3, 4, 2])
    axes.tie(0, 1, length=2)
    axes.fix(2)
    assert axes.axes() == (
        (Segment(0, 2), Segment(1, 1)),
        (Segment(0, 2), Segment(2, 2)),
        (Segment(None, 2),),
    )
