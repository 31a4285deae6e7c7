"""Layers whose masks are trained along with their weights; all connections are open at first.

Two kinds of gates, one number for each weight:

- straight-through (Bengio et al., arXiv:1308.3432): open where a score is not negative; the
  gradient passes as if the gate were the sigmoid of the score, so that it reaches closed gates too;
- hard concrete (Louizos et al., ICLR 2018, equations 10 and 11): while training a stretched and
  clipped random number, in evaluation its middle; `expected_open` is the penalty of the paper.

What a gate multiplies is the layer's ordinary weight. `fixed_layer` turns a trained layer into one
with a mask, which is what is traced, exported to graphs and pruned.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.networks.masked import MaskedConv2d, MaskedLayer, MaskedLinear

LOW, HIGH, TEMPERATURE = -0.1, 1.1, 2 / 3  # gamma, zeta and beta of Louizos et al.
OPEN_SCORE = 1.0  # of a straight-through gate at first
OPEN_LOGIT = 3.0  # of a hard concrete gate at first: its middle is above 1 before it is clipped


class StraightThroughGate(nn.Module):
    """Zeros and ones by the signs of scores."""

    start = OPEN_SCORE

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.scores = nn.Parameter(torch.full(tuple(shape), self.start))

    def forward(self) -> Float[Tensor, "*shape"]:
        soft = self.scores.sigmoid()
        return (self.scores >= 0).to(soft) + (soft - soft.detach())

    def values(self) -> Float[Tensor, "*shape"]:
        """Of the gates in evaluation."""
        return (self.scores >= 0).to(self.scores)

    def expected_open(self) -> Float[Tensor, ""]:
        """A differentiable count of open gates: the sum of the sigmoids."""
        return self.scores.sigmoid().sum()


class HardConcreteGate(nn.Module):
    """Numbers from 0 to 1 both of which have a probability of their own."""

    start = OPEN_LOGIT

    def __init__(self, shape: Sequence[int]):
        super().__init__()
        self.scores = nn.Parameter(torch.full(tuple(shape), self.start))

    def forward(self) -> Float[Tensor, "*shape"]:
        if not self.training:
            return self.values()
        drawn = torch.rand_like(self.scores).clamp(1e-6, 1 - 1e-6)
        noise = drawn.log() - (1 - drawn).log()
        return _stretched(((noise + self.scores) / TEMPERATURE).sigmoid())

    def values(self) -> Float[Tensor, "*shape"]:
        """Of the gates in evaluation."""
        return _stretched(self.scores.sigmoid())

    def expected_open(self) -> Float[Tensor, ""]:
        """How many gates are not zero, on average: the L0 norm of the paper."""
        return (self.scores - TEMPERATURE * math.log(-LOW / HIGH)).sigmoid().sum()


def _stretched(values: Tensor) -> Tensor:
    return (values * (HIGH - LOW) + LOW).clamp(0, 1)


GATES = {"straight_through": StraightThroughGate, "hard_concrete": HardConcreteGate}


class GatedLayer(nn.Module):
    """What layers with trainable masks share; `gate` is the module that holds the scores."""

    weight: nn.Parameter
    gate: StraightThroughGate | HardConcreteGate

    @torch.no_grad()
    def set_mask(self, mask: Bool[Tensor, "..."]) -> None:
        """Opens gates where a mask is, and closes the others, which may be trained open again.

        Raises:
            NNGraphsError: it has another shape than the weight.
        """
        if mask.shape != self.weight.shape:
            raise NNGraphsError(
                f"mask weights of the shape {list(self.weight.shape)}",
                found=f"the mask is {list(mask.shape)}.",
                do="Give a boolean tensor of the weights' own shape.",
            )
        start = self.gate.start
        self.gate.scores.copy_(torch.where(mask.to(self.weight.device), start, -start))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Torch's own initial values, and all gates open."""
        super().reset_parameters()
        if "gate" in self._modules:  # not yet while the layer is being made
            self.gate.scores.fill_(self.gate.start)

    @property
    def mask(self) -> Bool[Tensor, "out in *kernel"]:
        """Which weights exist in evaluation."""
        return self.gate.values().detach() > 0

    @property
    def density(self) -> float:
        """Share of the weights that exist in evaluation."""
        return float(self.mask.float().mean())

    def gated_weight(self) -> Float[Tensor, "out in *kernel"]:
        """Weight times gate; random while a hard concrete gate is trained."""
        return self.weight * self.gate()

    def _init_gate(self, gate: str) -> None:
        check_known(gate, GATES, asked=f"train a mask by {gate!r}")
        self.gate = GATES[gate](self.weight.shape)

    def _filled(self, layer: MaskedLayer) -> MaskedLayer:
        """A layer with the gated weight, the bias and the mask of this one."""
        with torch.no_grad():
            layer.to(self.weight)
            layer.weight.copy_(self.weight * self.gate.values())
            if self.bias is not None:
                layer.bias.copy_(self.bias)
        layer.set_mask(self.mask)
        return layer.train(self.training)


class GatedLinear(GatedLayer, nn.Linear):
    """`nn.Linear` with a trainable mask.

    Args:
        in_features, out_features, bias: as in `nn.Linear`.
        gate: "straight_through" or "hard_concrete".

    Raises:
        NNGraphsError: there is no such gate.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        gate: str = "straight_through",
    ):
        nn.Linear.__init__(self, in_features, out_features, bias)
        self._init_gate(gate)

    def forward(self, inputs: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        return F.linear(inputs, self.gated_weight(), self.bias)

    def fixed_layer(self) -> MaskedLinear:
        """A masked layer that computes the same as this one in evaluation."""
        has_bias = self.bias is not None
        return self._filled(MaskedLinear(self.in_features, self.out_features, has_bias))


class GatedConv2d(GatedLayer, nn.Conv2d):
    """`nn.Conv2d` of one group with a trainable mask for each value of its kernels.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, bias: as in `nn.Conv2d`.
        gate: "straight_through" or "hard_concrete".

    Raises:
        NNGraphsError: there is no such gate.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        *,
        gate: str = "straight_through",
    ):
        nn.Conv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias
        )
        self._init_gate(gate)

    def forward(self, inputs: Float[Tensor, "*B in h w"]) -> Float[Tensor, "*B out new_h new_w"]:
        return self._conv_forward(inputs, self.gated_weight(), self.bias)

    def fixed_layer(self) -> MaskedConv2d:
        """A masked layer that computes the same as this one in evaluation."""
        layer = MaskedConv2d(
            self.in_channels,
            self.out_channels,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.bias is not None,
        )
        return self._filled(layer)


def with_fixed_masks(module: nn.Module) -> nn.Module:
    """Replaces, in place, every layer with a trainable mask by its `fixed_layer`.

    Returns:
        The module; the replacement, where it is such a layer itself.
    """
    if isinstance(module, GatedLayer):
        return module.fixed_layer()
    for name, child in module.named_children():
        setattr(module, name, with_fixed_masks(child))
    return module
