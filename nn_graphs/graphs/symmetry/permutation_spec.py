"""The permutations of a network, parameter by parameter: as other tools take them, and to be read.

A parameter's axis is moved by one permutation, by several behind each other (joined channels), or
by none. That is how weight matching describes an architecture (Ainsworth et al., "Git Re-Basin",
ICLR 2023, appendix A.4); what moves in blocks, as channels of attention heads do, is one run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from jaxtyping import Int
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate
from nn_graphs.graphs.parameter_numbers import parameter_numbers
from nn_graphs.graphs.parts.symmetries import Segment
from nn_graphs.networks.parameters import ParameterSlot

FIXED = "-"


@dataclass(frozen=True)
class Run:
    """Neighbours on an axis that one permutation moves.

    Attributes:
        name: of the permutation; "P3(P5)" are blocks that P3 moves, in each of which P5 does; "-"
            stays.
        length: how many neighbours.
        repeat: how many of them move as one, as the places of a channel do behind a flattening.
    """

    name: str
    length: int
    repeat: int = 1

    def __str__(self) -> str:
        return f"{self.name}*{self.repeat}" if self.repeat > 1 else self.name


@dataclass(frozen=True)
class MovedAxis:
    """What moves an axis of a parameter: one run mostly, several where channels were joined."""

    runs: tuple[Run, ...]

    @property
    def permutation(self) -> str | None:
        """The one permutation that moves the whole axis; None where there is none, or several."""
        names = [run.name for run in self.runs]
        return names[0] if len(names) == 1 and names[0] != FIXED else None

    def __str__(self) -> str:
        if len(self.runs) == 1:
            return str(self.runs[0])
        return " ".join(f"{run}:{run.length}" for run in self.runs)


def permutation_spec(template: GraphTemplate) -> dict[str, tuple[MovedAxis, ...]]:
    """What moves each axis of each parameter, by the parameter's name.

    Axes that no neurons lie on (places of kernels), and those of parameters that the graph shows
    nowhere, stay.
    """
    names = _names_of_neurons(template)
    sizes = {f"P{number}": size for number, size in enumerate(template.symmetries.sizes)}
    ends = _ends_of_params(template)
    spec = {}
    for slot in template.parameters.slots:
        own = [end[slot.offset : slot.stop].view(slot.shape) for end in ends]
        axes = range(len(slot.shape))
        spec[slot.name] = tuple(_moved_axis(slot, axis, own, names, sizes) for axis in axes)
    return spec


def permutation_table(template: GraphTemplate) -> str:
    """The same as a table of Markdown, with the sizes of the permutations under it."""
    rows = []
    for name, axes in permutation_spec(template).items():
        out, into = [*map(str, axes), "", ""][:2]
        rows.append(f"| {name} | {out} | {into} |")
    moved = enumerate(template.symmetries.sizes)
    sizes = ", ".join(f"P{number} moves {size}" for number, size in moved)
    return "\n".join(["| parameter | out | in |", "|---|---|---|", *rows, "", f"{sizes}."])


def _names_of_neurons(template: GraphTemplate) -> list[str]:
    return [name for axis in template.symmetries.axes for name in _names_of(axis)]


def _names_of(segments: Sequence[Segment]) -> list[str]:
    """The name of what moves each neuron on an axis."""
    names = []
    for segment in segments:
        own = FIXED if segment.permutation is None else f"P{segment.permutation}"
        if segment.inner:
            inside = _names_of(segment.inner)
            whole = " ".join(name for name, _ in groupby(inside))
            names += [f"{own}({whole})"] * segment.width
        else:
            names += [own] * segment.width
    return names


def _ends_of_params(template: GraphTemplate) -> tuple[Int[Tensor, "num_params"], ...]:
    """The neurons that each parameter comes from and goes to; -1 where it is on no edge."""
    biases, values = parameter_numbers(template)
    sources, targets = (torch.full((template.num_params,), -1) for _ in range(2))
    edges = template.structure().edge_index[:, template.edge_of_value]
    is_weight, has_bias = values >= 0, biases >= 0
    sources[values[is_weight]], targets[values[is_weight]] = edges[:, is_weight]
    targets[biases[has_bias]] = has_bias.nonzero().flatten()
    return targets, sources


def _moved_axis(
    slot: ParameterSlot,
    axis: int,
    ends: Sequence[Tensor],
    names: Sequence[str],
    sizes: Mapping[str, int],
) -> MovedAxis:
    """By the neurons that lie on an axis, one at each place of it."""
    for neurons in ends:
        rows = neurons.movedim(axis, 0).flatten(1) if neurons.ndim > 1 else neurons.unsqueeze(1)
        is_one_each = (rows == rows[:, :1]).all() and (rows >= 0).all()
        if is_one_each and (slot.shape[axis] == 1 or (rows[:, 0] != rows[0, 0]).any()):
            return MovedAxis(tuple(_runs(rows[:, 0].tolist(), names, sizes)))
    return MovedAxis((Run(FIXED, slot.shape[axis]),))


def _runs(neurons: Sequence[int], names: Sequence[str], sizes: Mapping[str, int]) -> Iterator[Run]:
    """Neighbours of one name; several copies of a permutation's items lie in runs of their own."""
    for name, own in groupby(neurons, key=lambda neuron: names[neuron]):
        length = len([*own])
        size = sizes.get(name, length)
        repeat = length // size if length % size == 0 else 1
        yield Run(name, length, repeat)


def apply_permutations(
    state: Mapping[str, Tensor],
    spec: Mapping[str, tuple[MovedAxis, ...]],
    orders: Mapping[str, Int[Tensor, "size"]],
) -> dict[str, Tensor]:
    """A state dict whose axes are moved, for specifications without blocks.

    Args:
        state: tensors by name.
        spec: what moves their axes.
        orders: of each permutation, which old item each new one is; those not named stay.

    Raises:
        NNGraphsError: a permutation moves blocks, inside which others do.
    """
    moved = dict(state)
    for name, axes in spec.items():
        for number, axis in enumerate(axes):
            parts, start = [], 0
            for run in axis.runs:
                if "(" in run.name:
                    raise _blocks(name, run)
                order = orders.get(run.name, torch.arange(run.length // run.repeat))
                inside = order.unsqueeze(1) * run.repeat + torch.arange(run.repeat)
                parts.append(start + inside.flatten())
                start += run.length
            moved[name] = moved[name].index_select(number, torch.cat(parts))
    return moved


def _blocks(name: str, run: Run) -> NNGraphsError:
    return NNGraphsError(
        f"permute {name} by a specification",
        found=f"{run.name} moves blocks, inside which neurons move too.",
        do="Use nn_graphs.graphs.apply_symmetries, which moves both.",
    )
