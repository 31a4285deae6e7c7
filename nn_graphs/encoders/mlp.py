"""The one multilayer perceptron: of heads, and of the baseline."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from nn_graphs.encoders.dropout import Dropout


def make_mlp(sizes: Sequence[int], *, dropout: float | None = None) -> nn.Sequential:
    """Linear layers between the given sizes with relu between them.

    Args:
        sizes: of the input, the hidden layers and the output.
        dropout: behind every relu; None: no such layers.
    """
    *hidden, last = (nn.Linear(in_dim, out_dim) for in_dim, out_dim in pairwise(sizes))
    layers: list[nn.Module] = []
    for linear in hidden:
        layers += [linear, nn.ReLU()]
        if dropout is not None:
            layers.append(Dropout(dropout))
    return nn.Sequential(*layers, last)
