"""What stands between equivariant linear maps: normalisation, dropout, and the stack of layers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.dropout import Dropout
from nn_graphs.encoders.equivariant.linear import EquivariantLinear
from nn_graphs.encoders.equivariant.spaces import Space


class SpaceBatchNorm(nn.Module):
    """Batch normalisation of every space by itself, over networks and places.

    Depends on the batch in training. A single value, which has no deviation, is normalised by the
    running statistics instead.
    """

    def __init__(self, num_spaces: int, *, dim: int):
        super().__init__()
        self.dim = dim
        self.norms = nn.ModuleList(nn.BatchNorm1d(dim) for _ in range(num_spaces))

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        return [self._one(norm, part) for norm, part in zip(self.norms, values, strict=True)]

    def _one(self, norm: nn.BatchNorm1d, values: Tensor) -> Tensor:
        rows = values.reshape(-1, self.dim)
        if len(rows) > 1:
            rows = norm(rows)
        else:
            rows = F.batch_norm(
                rows, norm.running_mean, norm.running_var, norm.weight, norm.bias, eps=norm.eps
            )
        return rows.view_as(values)


class ChannelDropout(nn.Module):
    """Dropout of whole channels of a network's space, at all of its places."""

    def __init__(self, rate: float):
        super().__init__()
        self.dropout = Dropout(rate)

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not self.dropout.rate:
            return values
        ones = values.new_ones(len(values), *[1] * (values.dim() - 2), values.shape[-1])
        return values * self.dropout(ones)


class EquivariantLayers(nn.Module):
    """Equivariant linear maps, each followed by normalisation (not the last), relu and dropout.

    Args:
        spaces: of the architecture.
        dims: channels of the input and behind every map.
        dropout: a module for the values of one space.
        has_batch_norm: whether there is normalisation.
    """

    def __init__(
        self,
        spaces: Sequence[Space],
        *,
        dims: Sequence[int],
        dropout: nn.Module,
        has_batch_norm: bool = False,
    ):
        super().__init__()
        self.linears = nn.ModuleList(
            EquivariantLinear(spaces, in_dim=in_dim, out_dim=out_dim)
            for in_dim, out_dim in pairwise(dims)
        )
        self.norms = nn.ModuleList(
            SpaceBatchNorm(len(spaces), dim=dim) if has_batch_norm else nn.Identity()
            for dim in dims[1:-1]
        )
        self.norms.append(nn.Identity())
        self.dropout = dropout

    def forward(self, values: Sequence[Tensor]) -> list[Tensor]:
        for linear, norm in zip(self.linears, self.norms, strict=True):
            values = [self.dropout(part.relu_()) for part in norm(linear(values))]
        return values
