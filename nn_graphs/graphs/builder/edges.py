"""Blocks of edges from the pieces of a value to the group that reads it.

Which group that is, and which numbers its edges get, `numbering` says when all groups are known.
"""

from dataclasses import replace

from nn_graphs.graphs.builder.channels import Piece, Value
from nn_graphs.graphs.parts.groups import EdgeBlock
from nn_graphs.graphs.parts.rules import EdgeKind
from nn_graphs.networks.parameters import ParameterSlot


def reading(piece: Piece) -> EdgeBlock:
    """The edges of a constant value that give a piece of a value to those who read it."""
    return EdgeBlock(
        start=0,
        source=piece.group,
        target=0,
        num_sources=piece.length,
        num_targets=piece.width,
        weight=None,
        constant=piece.factor,
        kind=EdgeKind.CONSTANT,
        first_value=0,
        first_source=piece.start,
        first_target=piece.at,
        repeat=piece.repeat,
        steps=piece.steps,
    )


def joining(piece: Piece, joins: tuple[tuple[int, ...], ...], width: int) -> EdgeBlock:
    """Edges of a constant value from chosen channels of a piece to `width` neurons."""
    return replace(reading(piece), num_targets=width, first_target=0, joins=joins)


def one_by_one(value: Value, kind: EdgeKind, slot: ParameterSlot | None) -> list[EdgeBlock]:
    """Edges from each channel to one neuron, whose values are a parameter, or else constant."""
    return [
        replace(reading(piece), kind=kind, weight=slot, columns=_columns(piece, value))
        for piece in value.pieces
    ]


def all_to_all(
    value: Value, weight: ParameterSlot, num_targets: int, *, is_transposed: bool
) -> list[EdgeBlock]:
    """Edges from every channel to every neuron."""
    return [
        replace(
            block,
            num_targets=num_targets,
            first_target=0,
            num_positions=block.repeat,
            repeat=1,
            is_transposed=is_transposed,
        )
        for block in one_by_one(value, EdgeKind.WEIGHT, weight)
    ]


def _columns(piece: Piece, value: Value) -> tuple[int, int] | None:
    """Which columns of a weight belong to a piece of the value that it acts on; None: all."""
    return None if piece.width == value.width else (piece.at, piece.width)
