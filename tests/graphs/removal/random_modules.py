"""Random networks, some of whose neurons are dead or duplicates, for property tests."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.Sigmoid, nn.Identity)


class Draws:
    """Small random choices from a seed."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def number(self, low: int, high: int) -> int:
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, share: float) -> bool:
        return bool(torch.rand((), generator=self.generator) < share)

    def of(self, choices):
        return choices[self.number(0, len(choices) - 1)]


class Residual(nn.Module):
    """A body with a skip around it."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


class Joined(nn.Module):
    """Two branches, joined along the channels."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.first(x), self.second(x)], 1)


class Gated(nn.Module):
    """A product of two branches."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x) * torch.sigmoid(self.second(x))


class Excited(nn.Module):
    """Channels weighed by a small network of their means."""

    def __init__(self, width: int):
        super().__init__()
        self.down, self.up = nn.Linear(width, 3), nn.Linear(3, width)

    def forward(self, x: Tensor) -> Tensor:
        means = x.mean((2, 3))
        return x * torch.sigmoid(self.up(F.relu(self.down(means))))[:, :, None, None]


def linear(draws: Draws, inputs: int, outputs: int) -> list[nn.Module]:
    layers = [nn.Linear(inputs, outputs, bias=draws.chance(0.7))]
    if draws.chance(0.3):
        layers.append(draws.of((nn.BatchNorm1d, nn.BatchNorm1d, nn.LayerNorm))(outputs))
    return [*layers, draws.of(ACTIVATIONS)()]


def convolution(draws: Draws, inputs: int, outputs: int, groups: int = 1) -> list[nn.Module]:
    size = draws.of((1, 3))
    padding = size // 2 if draws.chance(0.8) or groups == 0 else 0
    layers = [
        nn.Conv2d(inputs, outputs, size, padding=padding, groups=groups, bias=draws.chance(0.6))
    ]
    if draws.chance(0.4):
        layers.append(
            nn.GroupNorm(2, outputs)
            if draws.chance(0.2) and outputs % 2 == 0
            else nn.BatchNorm2d(outputs)
        )
    return [*layers, draws.of(ACTIVATIONS)()]


def keeping(draws: Draws, width: int) -> nn.Module:
    """Convolutions that change no size."""
    groups = draws.of((1, 1, 2, width))
    layer = nn.Conv2d(width, width, 3, padding=1, groups=groups, bias=draws.chance(0.5))
    norm = nn.BatchNorm2d(width) if draws.chance(0.5) else nn.Identity()
    return nn.Sequential(layer, norm, draws.of(ACTIVATIONS)())


def random_mlp(draws: Draws) -> tuple[nn.Module, tuple[int, ...]]:
    width = inputs = draws.number(2, 5)
    layers: list[nn.Module] = []
    for _ in range(draws.number(1, 3)):
        new = draws.number(3, 8)
        layers += linear(draws, width, new)
        width = new
        kind = draws.number(0, 4)
        if kind == 0:
            layers.append(Residual(nn.Sequential(*linear(draws, width, 5), nn.Linear(5, width))))
        elif kind == 1:
            layers.append(Gated(nn.Linear(width, 4), nn.Linear(width, 4)))
            width = 4
        elif kind == 2:
            layers.append(Joined(nn.Linear(width, 3), nn.Sequential(*linear(draws, width, 4))))
            width = 7
    return nn.Sequential(*layers, nn.Linear(width, 3)), (4, inputs)


def random_cnn(draws: Draws) -> tuple[nn.Module, tuple[int, ...]]:
    width, layers = 2, []
    for _ in range(draws.number(1, 3)):
        new = draws.of((4, 6))
        layers += convolution(draws, width, new)
        width = new
        kind = draws.number(0, 5)
        if kind == 0:
            layers.append(Residual(keeping(draws, width)))
        elif kind == 1:
            layers.append(keeping(draws, width))
        elif kind == 2:
            layers.append(Joined(nn.Conv2d(width, 2, 1), keeping(draws, width)))
            width += 2
        elif kind == 3:
            layers.append(Excited(width))
        if draws.chance(0.3):
            layers.append(draws.of((nn.MaxPool2d(2), nn.AvgPool2d(2))))
            break
    pooling = [nn.Flatten()] if draws.chance(0.5) else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    body = nn.Sequential(*layers, *pooling)
    inputs = (2, 2, 8, 8)
    with torch.no_grad():
        flat = body(torch.zeros(inputs)).shape[1]
    return nn.Sequential(body, nn.Linear(flat, 5), nn.ReLU(), nn.Linear(5, 3)), inputs


def random_module(seed: int) -> tuple[nn.Module, Tensor]:
    """A network in float64, in evaluation mode, with statistics of its own, and inputs for it."""
    draws = Draws(seed)
    torch.manual_seed(seed)
    module, shape = (random_mlp if draws.chance(0.5) else random_cnn)(draws)
    module = module.double().eval()
    with torch.no_grad():
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
                layer.weight.normal_()
                layer.bias.normal_()
    plant(module, draws)
    return module, torch.randn(shape, dtype=torch.float64)


@torch.no_grad()
def plant(module: nn.Module, draws: Draws) -> None:
    """Makes neurons dead, and others duplicates, in layers and norms chosen by chance."""
    layers = [one for one in module.modules() if hasattr(one, "weight")]
    if draws.chance(0.6):  # the same rows everywhere, so that channels behind skips are equal too
        for layer in layers:
            for tensor in layer.state_dict().values():
                if tensor.dim() and len(tensor) > 3:
                    tensor[2] = tensor[1]
    for layer in layers:
        rows = len(layer.weight)
        kind = draws.number(0, 3)
        if kind == 0:
            layer.weight[draws.number(0, rows - 1)] = 0
        elif kind == 1 and layer.weight.dim() > 1:
            layer.weight[:, draws.number(0, layer.weight.shape[1] - 1)] = 0
        elif kind == 2 and draws.chance(0.3):
            layer.weight[1:] = 0
