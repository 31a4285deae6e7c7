"""Pieces that random modules are put together from: for every known operation at least one.

A value is a row of points `[5, C]`, tokens `[2, 4, C]`, a series `[2, C, 8]`, an image
`[2, C, 6, 6]` or a volume `[2, C, 4, 4, 4]`. A piece takes some of these kinds and makes one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from tests.graphs.tracing.faithful import Written

PLACES = {"points": (), "tokens": (4,), "series": (8,), "image": (6, 6), "volume": (4, 4, 4)}
ANY = tuple(PLACES)
LAST = ("points", "tokens")
SPATIAL = ("series", "image", "volume")
NUM_AXES = {"series": 1, "image": 2, "volume": 3}


@dataclass(frozen=True)
class Piece:
    """`make(kind, width)` gives a module; `kinds` it takes, `after` it the kind that it makes."""

    kinds: tuple[str, ...]
    make: Callable[[str, int], nn.Module]
    after: str | None = None


def shape_of(kind: str, width: int) -> tuple[int, ...]:
    """Of a value of two points (five, where there are no places)."""
    if kind == "points":
        return (5, width)
    return (2, 4, width) if kind == "tokens" else (2, width, *PLACES[kind])


def axis_of(kind: str) -> int:
    return -1 if kind in LAST else 1


def layer(kind: str, fan_in: int, width: int, *, bias: bool = True) -> nn.Module:
    """A linear map, or a convolution that keeps the places."""
    if kind in LAST:
        return nn.Linear(fan_in, width, bias=bias)
    return getattr(nn, f"Conv{NUM_AXES[kind]}d")(fan_in, width, 3, padding=1, bias=bias)


def of_channels(kind: str, values):
    """One number a channel in a shape that meets a value."""
    return values if kind in LAST else values.view(-1, *(1,) * NUM_AXES[kind])


def element(function: Callable) -> Piece:
    return Piece(ANY, lambda kind, width: Written(lambda m, x: function(x)))


def module(make: Callable, *kinds: str, after: str | None = None) -> Piece:
    return Piece(kinds or ANY, lambda kind, width: make(width), after)


def written(function: Callable, *kinds: str, after: str | None = None) -> Piece:
    """`function(kind, width)` gives a forward function of a value alone."""

    def make(kind: str, width: int) -> nn.Module:
        own = function(kind, width)
        return Written(lambda m, x: own(x))

    return Piece(kinds or ANY, make, after)


def random(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(shape))


ELEMENTS = {
    "sine": lambda x: torch.sin(1.5 * x),
    "relu": F.relu,
    "relu in place": lambda x: (x + 1).relu_(),
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "gelu": F.gelu,
    "gelu by tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu6": F.relu6,
    "elu": lambda x: F.elu(x, 0.7),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.7),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "hardtanh": F.hardtanh,
    "hardtanh from 0": lambda x: F.hardtanh(x, 0.0, 1.0),
    "mish": F.mish,
    "softplus": F.softplus,
    "steep softplus": lambda x: F.softplus(x, beta=2, threshold=10),
    "softsign": F.softsign,
    "logsigmoid": F.logsigmoid,
    "softshrink": lambda x: F.softshrink(x, 0.2),
    "hardshrink": lambda x: F.hardshrink(x, 0.2),
    "tanhshrink": F.tanhshrink,
    "threshold": lambda x: F.threshold(x, 0.1, 0.3),
    "rrelu": lambda x: F.rrelu(x, training=False),
    "exp": lambda x: torch.exp(0.3 * x),
    "exp2": lambda x: torch.exp2(0.3 * x),
    "expm1": lambda x: torch.expm1(0.3 * x),
    "log": lambda x: torch.log(x.abs() + 1),
    "log2": lambda x: torch.log2(x.square() + 1),
    "log10": lambda x: torch.log10(x.abs() + 2),
    "log1p": lambda x: torch.log1p(x.abs()),
    "cos": torch.cos,
    "cosh": lambda x: torch.cosh(0.3 * x),
    "sinh": lambda x: torch.sinh(0.3 * x),
    "tan": lambda x: torch.tan(torch.tanh(x)),
    "asin": lambda x: torch.asin(0.9 * torch.tanh(x)),
    "acos": lambda x: torch.acos(0.9 * torch.tanh(x)),
    "acosh": lambda x: torch.acosh(x.abs() + 1.5),
    "asinh": torch.asinh,
    "atan": torch.atan,
    "atanh": lambda x: torch.atanh(0.9 * torch.tanh(x)),
    "erf": torch.erf,
    "erfc": torch.erfc,
    "erfinv": lambda x: torch.erfinv(0.9 * torch.tanh(x)),
    "sign": lambda x: torch.sign(x) * x,
    "round": lambda x: torch.round(3 * x),
    "round to decimals": lambda x: torch.round(x, decimals=1),
    "trunc, frac": lambda x: torch.trunc(3 * x) + torch.frac(2 * x),
    "floor, ceil": lambda x: torch.floor(3 * x) - torch.ceil(2 * x),
    "fmod, remainder": lambda x: torch.fmod(x, 0.7) + torch.remainder(x, 0.6),
    "reciprocal": lambda x: torch.reciprocal(x.abs() + 1),
    "abs": torch.abs,
    "sqrt": lambda x: torch.sqrt(x.abs() + 0.1),
    "rsqrt": lambda x: torch.rsqrt(x.square() + 1),
    "logit": lambda x: torch.logit(torch.sigmoid(x)),
    "sinc": torch.sinc,
    "finite": torch.nan_to_num,
    "clamp": lambda x: x.clamp(-0.5, 0.8),
    "clamp evenly": lambda x: x.clamp(-0.5, 0.5),
    "clamp at 0": lambda x: x.clamp(min=0) - 0.1 * x.clamp(max=0),
    "clamp in place": lambda x: (2 * x).clamp_(max=0.7),
    "square, cube": lambda x: x.pow(2) + 0.1 * x**3,
    "number to the power": lambda x: 1.3**x,
    "sum of numbers": lambda x: 1 - (2 * x + 0.5) / 4,
    "sum with alpha": lambda x: torch.add(torch.sub(x, 0.3, alpha=2), 0.1, alpha=3),
    "reversed with alpha": lambda x: torch.rsub(x, 0.3, alpha=2),
    "number by value": lambda x: 1.5 / (2 + x.abs()),
    "negative": lambda x: -x,
    "where": lambda x: torch.where(x > 0, x, 0.3 * x),
    "where number": lambda x: torch.where(x >= 0.1, x, 0.2) + torch.where(x < 0, 0.1, x),
    "where not": lambda x: torch.where(torch.logical_not(x <= 0.3), x, 0.0),
    "where log": lambda x: torch.where(x > 0, torch.log(x), 0.5),
    "condition as number": lambda x: x * (x > 0.2).to(x.dtype),
    "equal": lambda x: torch.where(x == 0, 1.0, x) + torch.where(x.ne(0), x, 2.0),
    "filled where": lambda x: x.masked_fill(x > 0.5, 0.5),
    "compared": lambda x: torch.where(x > 0.3 * x.square(), x, x.tanh()),
    "compared at most": lambda x: torch.where(x.ge(x.tanh()), x, -x) + torch.where(x <= -x, x, 1.0),
    "compared less": lambda x: torch.where(x.lt(x.sin()), x, -x),
    "compared equal": lambda x: (
        torch.where(x.relu() == x, x, 1.0) + torch.where(x.abs() != x, x, 2.0)
    ),
    "larger": lambda x: torch.maximum(x, 0.2 - x) - torch.minimum(x, x.tanh()),
    "dropout": lambda x: F.dropout(x, training=False),
    "copies": lambda x: x.clone().detach().contiguous(),
    "cast": lambda x: x.to(torch.float64).type_as(x),
    "product": lambda x: x * torch.sigmoid(x),
    "quotient": lambda x: x / (1 + x.square()),
    "difference": lambda x: torch.sub(x, x.tanh(), alpha=0.3),
}


def norm(make: Callable, *kinds: str) -> Piece:
    """A norm whose parameters and statistics are random."""

    def made(kind: str, width: int) -> nn.Module:
        found = make(kind, width)
        for name, tensor in [*found.named_parameters(), *found.named_buffers()]:
            if tensor.is_floating_point():
                positive = tensor.data.uniform_(0.5, 2) if "var" in name else tensor.data.normal_()
                tensor.data.copy_(positive)
        return found

    return Piece(kinds or SPATIAL, made)


def spatial(name: str, kind: str, *arguments, **settings) -> nn.Module:
    return getattr(nn, f"{name}{NUM_AXES[kind]}d")(*arguments, **settings)


def stretched(kind: str, width: int) -> nn.Module:
    """A strided, dilated or grouped convolution."""
    groups = 2 if width % 2 == 0 else 1
    conv = spatial("Conv", kind, width, 2 * width, 3, padding=2, dilation=2, groups=groups)
    return nn.Sequential(conv, spatial("ConvTranspose", kind, 2 * width, width, 1, bias=False))


def pool(name: str, **settings) -> Piece:
    return Piece(SPATIAL, lambda kind, w: spatial(name, kind, 3, stride=1, padding=1, **settings))


def same_size(name: str) -> Piece:
    return Piece(SPATIAL, lambda kind, w: spatial(name, kind, PLACES[kind]))


def with_parameters(function: Callable, *kinds: str, **shapes: Callable) -> Piece:
    """`function(m, x)`, where m has parameters; their shapes are made of kind and width."""

    def make(kind: str, width: int) -> nn.Module:
        own = {name: random(*shape(kind, width)) for name, shape in shapes.items()}
        return Written(lambda m, x: function(m, x), **own)

    return Piece(kinds or ANY, make)


def channels(kind: str, width: int) -> tuple[int, ...]:
    return (width,) if kind in LAST else (width, *(1,) * NUM_AXES[kind])


def one(kind: str, width: int) -> tuple[int, ...]:
    return (1,)


def doubled(function: Callable) -> Piece:
    """A layer to twice as many channels, then a function of two halves."""

    def make(kind: str, width: int) -> nn.Module:
        return Written(
            lambda m, x: function(m.own(x), axis_of(kind)), own=layer(kind, width, 2 * width)
        )

    return Piece(ANY, make)


def reduced(function: Callable) -> Piece:
    """`function(x, axis)` of the axis of the channels."""
    return written(lambda kind, width: lambda x: function(x, axis_of(kind)))


class Attention(nn.Module):
    """Two heads of the width 3, of scaled_dot_product_attention or written by hand."""

    def __init__(self, width: int, *, is_by_hand: bool = False):
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(width, 6) for _ in range(3))
        self.out, self.is_by_hand = nn.Linear(6, width), is_by_hand

    def forward(self, values):
        q, k, v = (m(values).unflatten(-1, (2, 3)).transpose(1, 2) for m in self.maps)
        if self.is_by_hand:
            mask = torch.ones(4, 4).tril().bool()
            scores = (q @ k.mT / 1.7).masked_fill(~mask, -torch.inf)
            found = torch.matmul(scores.softmax(-1), v)
        else:
            found = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(found.transpose(1, 2).flatten(2))


class Recurrent(nn.Module):
    def __init__(self, make: Callable, width: int, **settings):
        super().__init__()
        self.inner = make(width, width, batch_first=True, **settings)

    def forward(self, values):
        return self.inner(values)[0]


PIECES: dict[str, Piece] = {
    **{name: element(function) for name, function in ELEMENTS.items()},
    "layer": Piece(ANY, lambda kind, width: layer(kind, width, width)),
    "layer without bias": Piece(ANY, lambda kind, width: layer(kind, width, width, bias=False)),
    "matrix": with_parameters(lambda m, x: x @ m.w + m.b, *LAST, w=lambda k, w: (w, w), b=channels),
    "addmm": with_parameters(
        lambda m, x: torch.addmm(m.b, x, m.w), "points", w=lambda k, w: (w, w), b=channels
    ),
    "mm": with_parameters(lambda m, x: x.mm(m.w.t()), "points", w=lambda k, w: (w, w)),
    "stretched convolution": Piece(SPATIAL, stretched),
    "same padding": Piece(
        SPATIAL, lambda kind, w: spatial("Conv", kind, w, w, 3, padding="same", dilation=2)
    ),
    "mirrored padding": Piece(
        SPATIAL, lambda kind, w: spatial("Conv", kind, w, w, 3, padding=1, padding_mode="reflect")
    ),
    "residual": Piece(
        ANY, lambda kind, w: Written(lambda m, x: x + m.own(x).tanh(), own=layer(kind, w, w))
    ),
    "batch norm": norm(lambda kind, w: spatial("BatchNorm", kind, w)),
    "batch norm of points": norm(lambda kind, w: nn.BatchNorm1d(w), "points"),
    "plain batch norm": norm(lambda kind, w: spatial("BatchNorm", kind, w, affine=False)),
    "batch norm of the batch": norm(
        lambda kind, w: spatial("BatchNorm", kind, w, track_running_stats=False)
    ),
    "batch norm in place": norm(
        lambda kind, w: nn.Sequential(spatial("BatchNorm", kind, w), nn.ReLU(inplace=True))
    ),
    "batch norm of the batch in place": norm(
        lambda kind, w: nn.Sequential(
            spatial("BatchNorm", kind, w, track_running_stats=False), nn.ReLU(inplace=True)
        )
    ),
    "instance norm": norm(lambda kind, w: spatial("InstanceNorm", kind, w, affine=True)),
    "instance norm with statistics": norm(
        lambda kind, w: spatial("InstanceNorm", kind, w, track_running_stats=True)
    ),
    "group norm": norm(lambda kind, w: nn.GroupNorm(2 if w % 2 == 0 else 1, w)),
    "layer norm": norm(lambda kind, w: nn.LayerNorm(w), *LAST),
    "plain layer norm": norm(lambda kind, w: nn.LayerNorm(w, elementwise_affine=False), *LAST),
    "RMS norm": norm(lambda kind, w: nn.RMSNorm(w), *LAST),
    "softmax": module(lambda w: nn.Softmax(-1), *LAST),
    "log softmax": module(lambda w: nn.LogSoftmax(-1), *LAST),
    "softmax in place": module(
        lambda w: nn.Sequential(nn.Softmax(-1), nn.ReLU(inplace=True)), *LAST
    ),
    "softmax over places": module(lambda w: nn.Softmax(-1), *SPATIAL),
    "glu": doubled(lambda x, axis: F.glu(x, axis)),
    "chunk": doubled(lambda x, axis: (lambda a, b: a * b.sigmoid())(*x.chunk(2, axis))),
    "split": doubled(lambda x, axis: sum(x.split(x.shape[axis] // 2, axis))),
    "split by sizes": doubled(lambda x, axis: sum(x.split([x.shape[axis] // 2] * 2, axis))),
    "every other": doubled(lambda x, axis: x[..., ::2] if axis == -1 else x[:, 1::2]),
    "slice": doubled(lambda x, axis: x.narrow(axis, 1, x.shape[axis] // 2)),
    "one slope": Piece(ANY, lambda kind, w: nn.PReLU()),
    "slopes": Piece(SPATIAL, lambda kind, w: nn.PReLU(w)),
    "gains and shifts": with_parameters(lambda m, x: x * m.a + m.b, a=channels, b=channels),
    "minus and by": with_parameters(
        lambda m, x: (m.b - x) / (1 + m.a.square()), a=channels, b=channels
    ),
    "one trained number": with_parameters(lambda m, x: x * m.a.exp() + m.b, a=one, b=one),
    "trained number": with_parameters(lambda m, x: m.a * x, a=lambda k, w: ()),
    "trained gate": with_parameters(lambda m, x: torch.tanh(m.a) * x, a=channels),
    "positions": with_parameters(lambda m, x: x + m.a, "tokens", a=lambda k, w: (4, w)),
    "token in front": with_parameters(
        lambda m, x: torch.cat([m.a.expand(2, -1, -1), x], 1)[:, :4],
        "tokens",
        a=lambda k, w: (1, 1, w),
    ),
    "looked up": with_parameters(
        lambda m, x: x + F.embedding(torch.arange(4), m.a), "tokens", a=lambda k, w: (6, w)
    ),
    "buffer": Piece(
        ANY,
        lambda k, w: Written(
            lambda m, x: (x - m.a) / m.b,
            a=torch.randn(channels(k, w)),
            b=torch.rand(channels(k, w)) + 0.5,
        ),
    ),
    "gate for all": Piece(
        ANY, lambda k, w: Written(lambda m, x: x * m.own(x).sigmoid(), own=layer(k, w, 1))
    ),
    "shift for all": Piece(
        ANY, lambda k, w: Written(lambda m, x: x - m.own(x).relu(), own=layer(k, w, 1))
    ),
    "layer norm by hand": reduced(
        lambda x, axis: (
            (x - x.mean(axis, keepdim=True))
            / torch.sqrt(x.var(axis, keepdim=True, unbiased=False) + 1e-3)
        )
    ),
    "deviation": reduced(
        lambda x, axis: x / (1 + (x + 1e-3).std(axis, keepdim=True, correction=0))
    ),
    "RMS by hand": reduced(lambda x, axis: x / (x.pow(2).mean(axis, keepdim=True) + 0.1).sqrt()),
    "RMS as written in Llama": written(
        lambda k, w: lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 0.1), *LAST
    ),
    "unit length": reduced(lambda x, axis: F.normalize(x + 0.1, dim=axis)),
    "sum of sizes": reduced(lambda x, axis: x / (1 + x.norm(p=1, dim=axis, keepdim=True))),
    "sum over channels": reduced(lambda x, axis: x + 0.1 * x.sum(axis).unsqueeze(axis)),
    "mean of all": written(lambda k, w: lambda x: x - x.mean() + 0.1 * x.sum()),
    "one channel": reduced(lambda x, axis: x + x.select(axis, 0).tanh().unsqueeze(axis)),
    "channels one by one": reduced(
        lambda x, axis: torch.stack([part.tanh() for part in x.unbind(axis)], axis)
    ),
    "reversed": reduced(lambda x, axis: x.flip(axis)),
    "rolled": reduced(lambda x, axis: x.roll(1, axis)),
    "indexed": Piece(
        ANY,
        lambda k, w: Written(lambda m, x: x.index_select(axis_of(k), m.a), a=torch.randperm(w)),
    ),
    "indexed by brackets": Piece(
        SPATIAL, lambda k, w: Written(lambda m, x: x[:, m.a], a=torch.randperm(w))
    ),
    "permuted groups": Piece(
        ("image",), lambda k, w: nn.Identity() if w % 2 else Written(_shuffled)
    ),
    "channels joined": written(
        lambda k, w: lambda x: torch.cat([x, x.tanh()], axis_of(k)).narrow(axis_of(k), 1, w)
    ),
    "places joined": written(
        lambda k, w: lambda x: torch.cat([x, x.tanh()], -2)[..., 1:5, :], "tokens"
    ),
    "padded channels": written(lambda k, w: lambda x: F.pad(x, (0, 2)).exp()[..., :w], *LAST),
    "padded with ones": written(
        lambda k, w: lambda x: F.pad(x, (1, 1), value=1.0)[..., :-2], *SPATIAL
    ),
    "padded around": written(
        lambda k, w: lambda x: F.pad(x, (1, 1), "circular")[..., 2:], "series"
    ),
    "largest nearby": pool("MaxPool"),
    "mean nearby": pool("AvgPool", count_include_pad=False),
    "largest of cells": same_size("AdaptiveMaxPool"),
    "mean of cells": same_size("AdaptiveAvgPool"),
    "nearest": written(
        lambda k, w: lambda x: F.avg_pool1d(F.interpolate(x, scale_factor=2), 2), "series"
    ),
    "nearest of images": written(
        lambda k, w: lambda x: F.max_pool2d(F.interpolate(x, scale_factor=2), 2), "image"
    ),
    "linear between": written(
        lambda k, w: lambda x: F.interpolate(x, size=8, mode="linear", align_corners=True), "series"
    ),
    "bilinear": written(
        lambda k, w: lambda x: F.interpolate(x, size=(6, 6), mode="bilinear"), "image"
    ),
    "trilinear": written(
        lambda k, w: lambda x: F.interpolate(x, size=(4, 4, 4), mode="trilinear"), "volume"
    ),
    "nearest of volumes": written(
        lambda k, w: lambda x: F.max_pool3d(F.interpolate(x, scale_factor=2), 2), "volume"
    ),
    "strided slice": written(lambda k, w: lambda x: x[..., ::2].repeat_interleave(2, -1), "series"),
    "squeeze and excite": Piece(
        ("image",),
        lambda k, w: Written(
            lambda m, x: x * m.own(x.mean((2, 3))).sigmoid()[:, :, None, None],
            own=nn.Linear(w, w),
        ),
    ),
    "largest place": written(lambda k, w: lambda x: x - x.max(1, keepdim=True).values, "tokens"),
    "smallest place": written(lambda k, w: lambda x: x - x.amin(-1, keepdim=True), *SPATIAL),
    "largest of all": written(lambda k, w: lambda x: x.amax(-1, keepdim=True) - x, *SPATIAL),
    "smallest of tokens": written(lambda k, w: lambda x: x + x.min(1, keepdim=True)[0], "tokens"),
    "spread of places": written(lambda k, w: lambda x: x / (1 + x.var(-1, keepdim=True)), *SPATIAL),
    "tokens one by one": written(
        lambda k, w: lambda x: sum(part.tanh() for part in x.unbind(1))[:, None] + x, "tokens"
    ),
    "last token": written(lambda k, w: lambda x: x[:, -1], "tokens", after="points"),
    "mean token": written(lambda k, w: lambda x: x.mean(1), "tokens", after="points"),
    "first in line": written(lambda k, w: lambda x: x[:, :, 0], "series", after="points"),
    "sum of places": written(lambda k, w: lambda x: x.sum((2, 3)), "image", after="points"),
    "turned tokens": written(
        lambda k, w: lambda x: x.transpose(1, 2).tanh().permute(0, 2, 1).mT.movedim(1, 2), "tokens"
    ),
    "patches": written(
        lambda k, w: lambda x: x.flatten(2).transpose(1, 2)[:, :4], "image", after="tokens"
    ),
    "flat": Piece(
        SPATIAL,
        lambda k, w: nn.Sequential(
            nn.Flatten(), nn.Linear(torch.Size(shape_of(k, w)[1:]).numel(), w)
        ),
        after="points",
    ),
    "viewed": written(
        lambda k, w: lambda x: x.view(2, w, 36).reshape(2, w, 6, 6).unsqueeze(-1).squeeze(-1),
        "image",
    ),
    "squeezed": written(
        lambda k, w: lambda x: x[:, :, None, None].squeeze((2, 3)).unflatten(1, (1, w)).squeeze(1),
        "points",
    ),
    "expanded": written(
        lambda k, w: lambda x: x.unsqueeze(1).expand(-1, 4, -1), "points", after="tokens"
    ),
    "expanded as": written(lambda k, w: lambda x: x + x.mean(-1, keepdim=True).expand_as(x)),
    "repeated": written(
        lambda k, w: lambda x: x.unsqueeze(1).repeat(1, 4, 1), "points", after="tokens"
    ),
    "one to many": written(lambda k, w: lambda x: x[..., :1].expand(*x.shape[:-1], w) + x, *LAST),
    "attention": module(Attention, "tokens"),
    "attention by hand": module(lambda w: Attention(w, is_by_hand=True), "tokens"),
    "attention of modules": module(lambda w: _SelfAttention(w), "tokens"),
    "masked places": written(
        lambda k, w: (
            lambda x: (
                torch.where(torch.arange(4)[:, None] < 2, x, 0.0)
                + x.masked_fill(torch.arange(4)[:, None] > 2, 0.0)
            )
        ),
        "tokens",
    ),
    "LSTM": module(lambda w: Recurrent(nn.LSTM, w), "tokens"),
    "GRU": module(lambda w: Recurrent(nn.GRU, w), "tokens"),
    "Elman": module(lambda w: Recurrent(nn.RNN, w), "tokens"),
    "Elman with relu": module(lambda w: Recurrent(nn.RNN, w, nonlinearity="relu"), "tokens"),
}


def _shuffled(m, x):
    return x.view(2, 2, -1, 6, 6).transpose(1, 2).reshape(x.shape)


class _SelfAttention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4), nn.Linear(4, width)
        self.inner = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, values):
        values = self.up(values)
        return self.down(self.inner(values, values, values, need_weights=False)[0])
