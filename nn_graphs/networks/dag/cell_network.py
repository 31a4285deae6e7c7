"""Networks of cells: every node of a directed acyclic graph is a module on images (deepstruct).

A cell sees the images of all nodes that lead to it, side by side as channels, and puts out one
channel, or as many as all cells do. Smaller images get zeros below and to the right. Nodes that
hear no other see the input; those that no other hears are read by the head.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.structure.layered_graph import LayeredGraph

HEAD_CHANNELS = 100  # of the published head


@runtime_checkable
class CellConstructor(Protocol):
    """Makes the cell of one node; called with these names."""

    def __call__(
        self,
        *,
        is_input: bool,
        is_output: bool,
        in_degree: int,
        out_degree: int,
        layer: int,
        input_channel_size: int,
    ) -> nn.Module:
        """A module from images `[B, channels, h, w]` to images `[B, cell channels, h', w']`.

        The channels that come in are `input_channel_size` where the node is an input, else those of
        `in_degree` cells.
        """
        ...


class ReductionCell(nn.Module):
    """A convolution of 5 x 5 that halves images, ReLU, batch norm: the cell of the paper."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 5, stride=2, padding=2)
        self.norm = nn.BatchNorm2d(out_channels)

    def forward(self, images: Float[Tensor, "B c h w"]) -> Float[Tensor, "B d new_h new_w"]:
        return self.norm(self.conv(images).relu())


def reduction_cell(
    *,
    is_input: bool,
    is_output: bool,
    in_degree: int,
    out_degree: int,
    layer: int,
    input_channel_size: int,
) -> nn.Module:
    """The cell constructor of the paper's example: a `ReductionCell` of one channel a node."""
    return ReductionCell(input_channel_size if is_input else in_degree, 1)


class CellNetwork(nn.Module):
    """A classifier of images whose cells are the nodes of a graph.

    Args:
        structure: one node a cell.
        cell_constructor: makes the cells, e.g. `reduction_cell`.
        num_classes: outputs.
        input_channel_size: channels of the images.
        cell_channels: that each cell puts out.

    Attributes:
        structure: the graph.
        cells: in the order of the nodes' numbers.

    Raises:
        NNGraphsError: the constructor makes something that is no module.
    """

    def __init__(
        self,
        structure: LayeredGraph,
        cell_constructor: CellConstructor,
        *,
        num_classes: int,
        input_channel_size: int,
        cell_channels: int = 1,
    ):
        super().__init__()
        self.structure, self.cell_channels = structure, cell_channels
        self._before: list[list[int]] = [[] for _ in range(structure.num_nodes)]
        for source, target in zip(structure.sources, structure.targets, strict=True):
            self._before[target].append(int(source))
        self._order = [int(n) for nodes in structure.nodes_by_layer for n in nodes]
        self._ends = (structure.out_degrees == 0).nonzero()[0].tolist()
        self.cells = nn.ModuleList(
            self._make_cell(cell_constructor, node, input_channel_size)
            for node in range(structure.num_nodes)
        )
        self.collect = nn.Conv2d(len(self._ends) * cell_channels, HEAD_CHANNELS, 1)
        self.norm = nn.BatchNorm2d(HEAD_CHANNELS)
        self.head = nn.Linear(HEAD_CHANNELS, num_classes)

    def forward(self, images: Float[Tensor, "B c h w"]) -> Float[Tensor, "B classes"]:
        """Logits.

        Raises:
            NNGraphsError: a cell does not put out images of the number of channels.
        """
        values: dict[int, Tensor] = {}
        for node in self._order:
            before = [values[source] for source in self._before[node]]
            values[node] = self.cells[node](side_by_side(before) if before else images)
            self._check(node, values[node])
        ends = side_by_side([values[node] for node in self._ends])
        return self.head(self.norm(self.collect(ends)).mean((2, 3)))

    def _make_cell(self, construct: CellConstructor, node: int, channels: int) -> nn.Module:
        graph = self.structure
        in_degree, out_degree = int(graph.in_degrees[node]), int(graph.out_degrees[node])
        cell = construct(
            is_input=in_degree == 0,
            is_output=out_degree == 0,
            in_degree=in_degree,
            out_degree=out_degree,
            layer=int(graph.layers[node]),
            input_channel_size=channels,
        )
        if not isinstance(cell, nn.Module):
            raise NNGraphsError(
                f"make the cell of node {node}",
                found=f"the constructor returned a {type(cell).__name__}.",
                do="Return a torch module.",
            )
        return cell

    def _check(self, node: int, value: Tensor) -> None:
        if value.dim() != 4 or value.shape[1] != self.cell_channels:
            raise NNGraphsError(
                f"run the cell of node {node}",
                found=f"it puts out {list(value.shape)} instead of [B, {self.cell_channels}, "
                "height, width].",
                do="Give the channels that cells put out as cell_channels.",
            )


def side_by_side(images: Sequence[Float[Tensor, "B _ _ _"]]) -> Float[Tensor, "B _ _ _"]:
    """Images as channels of one, the smaller ones with zeros below and to the right."""
    height, width = (max(image.shape[axis] for image in images) for axis in (2, 3))
    padded = [
        image
        if image.shape[2:] == (height, width)
        else F.pad(image, (0, width - image.shape[3], 0, height - image.shape[2]))
        for image in images
    ]
    return padded[0] if len(padded) == 1 else torch.cat(padded, 1)
