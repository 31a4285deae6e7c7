"""Torch modules as a user might have them, to be found by their dotted path."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Chain(nn.Module):
    """Registers its layers in another order than it uses them."""

    def __init__(self, hidden_dim: int = 4):
        super().__init__()
        self.out = nn.Linear(hidden_dim, 1, bias=False)
        self.middle = nn.Linear(hidden_dim, hidden_dim)
        self.first = nn.Linear(2, hidden_dim)

    def forward(self, values: Tensor) -> Tensor:
        values = torch.sin(5 * self.first(values))
        return self.out(F.relu(self.middle(values) + values)) + 0.25


class Holder:
    Inner = Chain


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(values)))


class Unused(Chain):
    def __init__(self):
        super().__init__()
        self.spare = nn.Linear(3, 3)


class Tied(nn.Module):
    """Two layers with one weight and biases of their own."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.second.weight = self.first.weight

    def forward(self, values: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(values)))


class Normed(nn.Module):
    """Convolutions with batch norms and a skip, max pooling, a layer norm behind a flattening."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.stem, self.conv = nn.Conv2d(1, width, 3), nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for _ in range(2))
        self.pool, self.last_norm = nn.MaxPool2d(2), nn.LayerNorm(9 * width)
        self.out = nn.Linear(9 * width, 3)

    def forward(self, images: Tensor) -> Tensor:
        values = torch.relu(self.norms[0](self.stem(images)))
        values = self.pool(torch.relu(values + self.norms[1](self.conv(values))))
        return self.out(self.last_norm(values.flatten(1)))


class Branches(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(2, 3), nn.Linear(2, 3)

    def forward(self, values: Tensor) -> Tensor:
        return self.left(values) + self.right(values)


class ScaledSkip(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)

    def forward(self, values: Tensor) -> Tensor:
        hidden = torch.relu(self.first(values))
        return self.second(hidden) + 2 * hidden


class TwoOutputs(Chain):
    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        return super().forward(values), values


def plain(**options) -> nn.Module:
    return nn.Sequential(nn.Linear(2, 3, **options), nn.Tanh(), nn.Linear(3, 1))


def wider() -> nn.Module:
    return Normed(6)


def twin() -> nn.Module:
    return Normed()


def other() -> nn.Module:
    """The same tensors as `Normed`, in other use."""
    module = Normed()
    module.pool = nn.AvgPool2d(2)
    return module


def convolution() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(4, 10))


def late_convolution() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 9), nn.Unflatten(1, (1, 9)), nn.Conv1d(1, 4, 3))


def failing() -> nn.Module:
    raise RuntimeError("no GPU")


class Square(nn.Module):
    """Registers layers of one shape in another order than it uses them, so that names matter."""

    def __init__(self):
        super().__init__()
        self.b, self.a, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, values: Tensor) -> Tensor:
        return self.c(torch.tanh(self.b(torch.tanh(self.a(values)))))


ready = plain()
number = 3
