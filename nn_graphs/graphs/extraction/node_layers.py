"""Layers of nodes: what is computed together, and how, as an extracted graph tells it."""

import math
from dataclasses import dataclass

import numpy as np

from nn_graphs.graphs.parts.steps import Step
from nn_graphs.networks.activations import Activation

NODE_KINDS = (
    "input",
    "sum",
    "product",
    "choice",
    "constant",
    "function",
    "maximum",
    "minimum",
    "log_sum_exp",
    "variance",
    "deviation",
    "inverse_deviation",
    "inverse_root_mean_square",
    "vector_norm",
    "norm",
    "match",
    "pairing",
    "modulation",
    "memory",
    "module",
)
"""What nodes do with what arrives; the position is a kind's id, so it is only appended to.

"product" and "choice" take several arguments, each the sum of what arrives for it. A "function"
is a torch operation of the sum. The kinds from "norm" on stand at coarser levels alone, where a
node is a whole channel, layer or module.
"""


@dataclass(frozen=True, eq=False)
class NodeLayer:
    """Nodes `start ... stop - 1`, the elements of one value of the network in torch's order.

    A node computes `act(kind(what arrives) + bias) + offset`, its activation, bias and offset being
    those of its layer and channel.

    Attributes:
        name: of the parameter's module, as `layer1.0.conv1`, or of what is done, as
            `conv1/max_pool2d`.
        kind: one of `NODE_KINDS`.
        start: the first node.
        shape: of the value, for one sample.
        axis: on which the channels lie, from behind.
        activation: of all nodes.
        offset: added behind the activation.
        bias: `[channels]`, or None where there is none.
        bias_ids: `[channels]`, places of the biases in the flat parameter vector, -1: none.
        function: the operation of a "function".
        setting: of the kind: `eps` of an inverse deviation, the correction of a variance, the order
            of a vector norm.
        is_output: whether the network puts these values out.
    """

    name: str
    kind: str
    start: int
    shape: tuple[int, ...]
    axis: int = -1
    activation: Activation = Activation()  # noqa: RUF009 (frozen)
    offset: float = 0.0
    bias: np.ndarray | None = None
    bias_ids: np.ndarray | None = None
    function: Step | None = None
    setting: float = 0.0
    is_output: bool = False

    def __repr__(self) -> str:
        return f"NodeLayer({self.name}: {self.kind}, {list(self.shape)}, {self.num_nodes} nodes)"

    @property
    def num_nodes(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.num_nodes

    @property
    def kind_id(self) -> int:
        return NODE_KINDS.index(self.kind)

    def node_ids(self) -> np.ndarray:
        """The nodes' numbers in the shape of the value, in 32 bits where these hold them."""
        dtype = np.int32 if self.stop < 2**31 else np.int64
        return np.arange(self.start, self.stop, dtype=dtype).reshape(self.shape)

    def spread(self, channels: np.ndarray) -> np.ndarray:
        """`[channels]`, or one value for each node, as `[num_nodes]`."""
        if channels.size == self.num_nodes:
            return channels.reshape(-1)
        return np.broadcast_to(along_axis(channels, self.axis), self.shape).reshape(-1)


def along_axis(vector: np.ndarray, axis: int) -> np.ndarray:
    """`[width]` in a shape that broadcasts against values with channels on a (negative) axis."""
    return vector.reshape(-1, *(1,) * (-1 - axis))
