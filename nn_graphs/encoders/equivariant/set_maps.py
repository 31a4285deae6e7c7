"""Maps of sets that commute with permutations of their items, and reductions of axes.

What the public code of DWSNets (Navon et al., ICML 2023) has where two tensors share the neurons of
a layer: sums with a common part (Zaheer et al., NeurIPS 2017), or attention within the set (Lee et
al., ICML 2019), there scaled by the square root of all channels rather than of one head's.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.mlp import make_mlp
from nn_graphs.errors import NNGraphsError

Reduction = Literal["max", "mean", "sum"]


def reduce_axes(values: Tensor, dims: Sequence[int], reduction: Reduction) -> Tensor:
    """The values without some axes; of no axes, the values."""
    if not dims:
        return values
    return {"max": torch.amax, "mean": torch.mean, "sum": torch.sum}[reduction](values, tuple(dims))


class SetDifference(nn.Module):
    """A map of every item, less a map of what the set is reduced to.

    Args:
        in_dim, out_dim: channels of an item.
        reduction: what the set is reduced by; "attn": by a mean whose weights are a softmax over
            the items' products with a learned vector.
        num_layers: linear layers of both maps.
        has_bias: of the map of items; the other has none.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        reduction: Reduction | Literal["attn"],
        num_layers: int,
        has_bias: bool,
    ):
        super().__init__()
        sizes = [in_dim, *[out_dim] * num_layers]
        self.reduction = reduction
        self.each = make_mlp(sizes, has_bias=has_bias)
        self.common = make_mlp(sizes, has_bias=False)
        self.query = nn.Parameter(torch.ones(in_dim)) if reduction == "attn" else None

    def forward(
        self, values: Float[Tensor, "*B items in_dim"]
    ) -> Float[Tensor, "*B items out_dim"]:
        return self.each(values) - self.common(self._reduced(values)).unsqueeze(-2)

    def _reduced(self, values: Float[Tensor, "*B items in_dim"]) -> Float[Tensor, "*B in_dim"]:
        if self.reduction != "attn":
            return reduce_axes(values, [-2], self.reduction)
        weights = torch.softmax(values @ self.query, dim=-1)
        return (weights.unsqueeze(-1) * values).sum(-2)


class SetAttention(nn.Module):
    """Every item attends to all; its query stays beside what it gets, then relu with a residual.

    Args:
        in_dim, out_dim: channels of an item.
        num_heads: parts of the channels that attend on their own.

    Raises:
        NNGraphsError: the channels cannot be divided among the heads.
    """

    def __init__(self, in_dim: int, out_dim: int, *, num_heads: int):
        super().__init__()
        self.head_dim = out_dim // num_heads
        if not self.head_dim or out_dim % self.head_dim:
            raise NNGraphsError(
                f"attend with {num_heads} heads",
                found=f"there are {out_dim} channels.",
                do="Give a number of heads that divides them.",
            )
        self.scale = out_dim**-0.5
        self.query, self.key, self.value = (nn.Linear(in_dim, out_dim) for _ in range(3))
        self.out = nn.Linear(out_dim, out_dim)

    def forward(self, values: Float[Tensor, "B items in_dim"]) -> Float[Tensor, "B items out_dim"]:
        query, key, value = (
            rearrange(linear(values), "b items (heads dim) -> b heads items dim", dim=self.head_dim)
            for linear in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        joined = rearrange(query + attended, "b heads items dim -> b items (heads dim)")
        return joined + F.relu(self.out(joined))
