"""Parameters to graphs: the features of nodes and edges, copied out of flat vectors."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.parts.groups import EdgeBlock, NodeGroup
from nn_graphs.networks.parameters import ParameterLayout


def node_features(
    groups: Sequence[NodeGroup], layout: ParameterLayout, params: Float[Tensor, "B num_params"]
) -> Float[Tensor, "B num_nodes 1"]:
    """The bias of every neuron, 0 where it has none."""
    parts = [
        layout.view(params, group.bias)
        if group.bias is not None
        else params.new_zeros(len(params), group.width)
        for group in groups
    ]
    return torch.cat(parts, dim=1).unsqueeze(-1)


def edge_features(
    blocks: Sequence[EdgeBlock], layout: ParameterLayout, params: Float[Tensor, "B num_params"]
) -> Float[Tensor, "B num_values 1"]:
    """The values of every edge: a weight, a kernel, a constant."""
    parts = [
        _columns(layout.view(params, block.weight), block).flatten(1)
        if block.weight is not None
        else params.new_full((len(params), block.num_edges), block.constant)
        for block in blocks
    ]
    return torch.cat(parts, dim=1).unsqueeze(-1)


def _columns(weight: Float[Tensor, "*B _"], block: EdgeBlock) -> Tensor:
    """The part of a parameter that a block shows."""
    if block.columns is None:
        return weight
    return weight.narrow(block.column_axis - len(block.weight.shape), *block.columns)


def check_shape(layout: ParameterLayout, params: Tensor, shape: tuple[int, ...]) -> None:
    """Raises where parameters are of another shape."""
    if params.shape != shape:
        raise NNGraphsError(
            f"make neural graphs of {layout.num_params} parameters each",
            found=f"the tensor given has the shape {list(params.shape)}.",
            do="Pass one flat vector, a module or a state dict; for many use template.stack.",
        )


def check_values(layout: ParameterLayout, params: Float[Tensor, "num_params"]) -> None:
    """Raises where parameters are NaN or infinite."""
    if not len(params) or all(bound.isfinite() for bound in params.aminmax()):  # one pass
        return
    bad = (~params.isfinite()).nonzero().flatten().tolist()
    if bad:
        slot = next(s for s in layout.slots if bad[0] < s.offset + s.size)
        raise NNGraphsError(
            f"make a neural graph of {layout.num_params} parameters",
            found=f"{len(bad)} are NaN or infinite, the first in {slot.name}.",
            do="Leave out networks whose training diverged.",
        )
