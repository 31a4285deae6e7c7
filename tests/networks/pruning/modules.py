"""Small modules that tests of pruning share."""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Nested(nn.Module):
    """Weights in a list, in a module of its own, in a subclass, and a parameter without a layer."""

    class Own(nn.Linear):
        pass

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Sequential(nn.Linear(4, 6)), Nested.Own(6, 5)])
        self.matrix = nn.Parameter(torch.randn(5, 3))

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = torch.tanh(part(x))
        return x @ self.matrix


def mlp(*widths: int, seed: int = 0, bias: bool = True) -> nn.Sequential:
    """Linear layers with a relu between each two."""
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 6, 3),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(96, 3),
    )


def batches(num_inputs: int, num_classes: int, *, number: int = 2, dtype=torch.float32) -> list:
    """Random pairs (inputs, labels)."""
    generator = torch.Generator().manual_seed(3)
    return [
        (
            torch.randn(5, num_inputs, generator=generator, dtype=dtype),
            torch.randint(num_classes, (5,), generator=generator),
        )
        for _ in range(number)
    ]


def train(module: nn.Module, data: list, *, num_steps: int = 20, lr: float = 0.1) -> float:
    """Plain gradient descent on all batches; the last loss."""
    optimizer = torch.optim.SGD(module.parameters(), lr=lr)
    for _ in range(num_steps):
        loss = sum(F.cross_entropy(module(x), y) for x, y in data)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()
