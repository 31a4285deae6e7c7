"""Where the weights of a template's dense block stand in the flat parameter vector."""

import math

from nn_graphs.graphs.extraction.edge_bundles import WeightPlaces
from nn_graphs.graphs.parts.edge_blocks import EdgeBlock


def weight_places(block: EdgeBlock, *, are_positions_apart: bool) -> WeightPlaces:
    """The places of a block's weights, as torch stores them: `[out, in, *kernel]`, or transposed.

    Args:
        block: of a linear map or a convolution.
        are_positions_apart: whether the positions of a flattened map count as channels in.
    """
    shape, size, groups = block.weight.shape, block.kernel_size, block.num_groups
    row, first = math.prod(shape[1:]), block.weight.offset
    if block.columns is not None:
        first += block.columns[0] * (size if block.column_axis == 1 else row)
    if block.is_transposed:
        return WeightPlaces(first, block.num_sources // groups * row, size, row)
    step = size if are_positions_apart else size * block.num_positions
    return WeightPlaces(first, block.num_targets // groups * row, row, step)
