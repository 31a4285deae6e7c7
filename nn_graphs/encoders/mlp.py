"""The one multilayer perceptron: of heads, and of the baseline."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from nn_graphs.encoders.dropout import Dropout


def make_mlp(
    sizes: Sequence[int], *, dropout: float | None = None, has_bias: bool = True
) -> nn.Sequential:
    """Linear layers between the given sizes with relu between them.

    Args:
        sizes: of the input, the hidden layers and the output.
        dropout: behind every relu; None: no such layers.
        has_bias: whether the layers have one.
    """
    *hidden, last = (nn.Linear(*pair, bias=has_bias) for pair in pairwise(sizes))
    layers: list[nn.Module] = []
    for linear in hidden:
        layers += [linear, nn.ReLU()]
        if dropout is not None:
            layers.append(Dropout(dropout))
    return nn.Sequential(*layers, last)
