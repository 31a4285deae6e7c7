"""Torch modules with kernels, norms, gates and joins, with the shapes that they take."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A module in float64 with random parameters and statistics, and the shapes of its inputs.

    With `num_tokens`, inputs are integers below it.
    """

    make: Callable[[], nn.Module]
    shapes: tuple[tuple[int, ...], ...]
    num_tokens: int = 0

    def module(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        module = self.make().double().eval()
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif tensor.is_floating_point():
                tensor.normal_(std=1.0 if tensor.ndim < 2 else 2 * tensor[0].numel() ** -0.5)
        return module

    def inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(seed)
        if self.num_tokens:
            return tuple(
                torch.randint(self.num_tokens, shape, generator=generator) for shape in self.shapes
            )
        return tuple(torch.randn(s, generator=generator).double() for s in self.shapes)

    @torch.no_grad()
    def outputs(self, module: nn.Module) -> list[Tensor]:
        outputs = module(*self.inputs())
        return [outputs] if isinstance(outputs, Tensor) else list(outputs)


class Net(nn.Module):
    """Named submodules, and a forward function over them."""

    def __init__(self, forward_fn: Callable, **modules: nn.Module):
        super().__init__()
        self.forward_fn = forward_fn
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, *inputs):
        return self.forward_fn(self, *inputs)


def conv(fan_in: int, width: int, size: int = 1, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(fan_in, width, size, stride, size // 2, groups=groups, bias=False)


def normed(*layers: nn.Module, width: int, activation: Callable = nn.ReLU) -> list[nn.Module]:
    return [*layers, nn.BatchNorm2d(width), activation()]


def head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(width, 5)]


class Residual(nn.Module):
    """A residual block; `bottleneck` with three convolutions, else with two."""

    def __init__(self, fan_in: int, width: int, stride: int, *, bottleneck: bool):
        super().__init__()
        out = 4 * width if bottleneck else width
        layers = [conv(fan_in, width, 3, stride), conv(width, width, 3)]
        if bottleneck:
            layers = [conv(fan_in, width), conv(width, width, 3, stride), conv(width, out)]
        norms = [nn.BatchNorm2d(layer.out_channels) for layer in layers]
        self.layers, self.norms = nn.ModuleList(layers), nn.ModuleList(norms)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = None
        if fan_in != out or stride != 1:
            self.shortcut = nn.Sequential(conv(fan_in, out, 1, stride), nn.BatchNorm2d(out))

    def forward(self, values):
        total = values
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            total = norm(layer(self.relu(total) if number else total))
        total += values if self.shortcut is None else self.shortcut(values)
        return self.relu(total)


def resnet(blocks: tuple[int, ...], *, width: int, bottleneck: bool, classes: int) -> nn.Module:
    """ResNet-18 is (2, 2, 2, 2), ResNet-50 (3, 4, 6, 3) with bottlenecks, both of width 64."""
    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)]
    layers += [nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    fan_in = width
    for stage, number in enumerate(blocks):
        for block in range(number):
            own, stride = width * 2**stage, 2 if stage and not block else 1
            layers.append(Residual(fan_in, own, stride, bottleneck=bottleneck))
            fan_in = 4 * own if bottleneck else own
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fan_in, classes))


class SqueezeExcitation(nn.Module):
    def __init__(self, width: int, squeezed: int):
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(width, squeezed, 1), nn.Conv2d(squeezed, width, 1)

    def forward(self, values):
        pooled = values.mean((2, 3), keepdim=True)
        return torch.sigmoid(self.excite(F.silu(self.squeeze(pooled)))) * values


class Inverted(nn.Module):
    """An inverted residual (MobileNetV2), with a gate (EfficientNet) where `activation` is SiLU."""

    def __init__(self, fan_in: int, out: int, stride: int, activation: Callable):
        super().__init__()
        width = 3 * fan_in
        layers = normed(conv(fan_in, width), width=width, activation=activation)
        layers += normed(
            conv(width, width, 3, stride, groups=width), width=width, activation=activation
        )
        if activation is nn.SiLU:
            layers.append(SqueezeExcitation(width, 2))
        self.layers = nn.Sequential(*layers, conv(width, out), nn.BatchNorm2d(out))
        self.is_residual = fan_in == out and stride == 1

    def forward(self, values):
        total = self.layers(values)
        return values + total if self.is_residual else total


def mobilenet(activation: Callable = nn.ReLU) -> nn.Module:
    return nn.Sequential(
        *normed(conv(3, 8, 3, 2), width=8, activation=activation),
        Inverted(8, 6, 2, activation),
        Inverted(6, 6, 1, activation),
        *normed(conv(6, 16), width=16, activation=activation),
        *head(16),
    )


class DenseLayer(nn.Module):
    def __init__(self, fan_in: int, growth: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.BatchNorm2d(fan_in),
            nn.ReLU(),
            *normed(conv(fan_in, 3 * growth), width=3 * growth),
            conv(3 * growth, growth, 3),
        )

    def forward(self, values):
        return torch.cat([values, self.layers(values)], 1)


def densenet() -> nn.Module:
    return nn.Sequential(
        *normed(conv(3, 6, 7, 2), width=6),
        nn.MaxPool2d(3, 2, 1),
        DenseLayer(6, 3),
        DenseLayer(9, 3),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        conv(12, 6),
        nn.AvgPool2d(2),
        DenseLayer(6, 3),
        *head(9),
    )


class UNet(nn.Module):
    def __init__(self, width: int = 3):
        super().__init__()

        def block(fan_in: int, out: int) -> nn.Module:
            return nn.Sequential(
                *normed(nn.Conv2d(fan_in, out, 3, padding=1), width=out),
                nn.Conv2d(out, out, 3, padding=1),
                nn.ReLU(),
            )

        self.down = nn.ModuleList([block(3, width), block(width, 2 * width)])
        self.middle = block(2 * width, 4 * width)
        widths = (4 * width, 2 * width)
        self.widen = nn.ModuleList([nn.ConvTranspose2d(w, w // 2, 2, 2) for w in widths])
        self.up = nn.ModuleList([block(w, w // 2) for w in widths])
        self.last = nn.Conv2d(width, 2, 1)

    def forward(self, values):
        seen = []
        for block in self.down:
            values = block(values)
            seen.append(values)
            values = F.max_pool2d(values, 2)
        values = self.middle(values)
        for widen, block in zip(self.widen, self.up, strict=True):
            values = block(torch.cat([seen.pop(), widen(values)], 1))
        return self.last(values)


def vgg() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(True),
        nn.MaxPool2d(2),
        *normed(nn.Conv2d(8, 6, 3, padding=1), width=6),
        nn.AdaptiveAvgPool2d((3, 2)),
        nn.Flatten(),
        nn.Linear(36, 16),
        nn.ReLU(True),
        nn.Dropout(),
        nn.Linear(16, 4),
    )


def cnn(*layers: nn.Module) -> Callable[[], nn.Module]:
    """`layers` between two 3x3 convolutions, from 3 to 8 channels and from as many to 4."""

    def make() -> nn.Module:
        first = nn.Conv2d(3, 8, 3)
        with torch.no_grad():
            width = nn.Sequential(first, *layers).eval()(torch.zeros(2, 3, 12, 12)).shape[1]
        return nn.Sequential(first, *deepcopy(layers), nn.Conv2d(width, 4, 3, padding=1))

    return make


def two_branches(fold: Callable) -> Callable[[], nn.Module]:
    """Two convolutions of one image, put together by a function, and a convolution behind."""

    def make() -> nn.Module:
        branches = {"a": nn.Conv2d(3, 4, 3), "b": nn.Conv2d(3, 4, 1, padding=0)}
        module = Net(lambda m, x: fold(m, torch.relu(m.a(x)), m.b(x[..., 1:-1, 1:-1])), **branches)
        with torch.no_grad():
            width = module(torch.zeros(2, 3, 12, 12)).shape[1]
        return nn.Sequential(module, nn.Conv2d(width, 3, 2))

    return make


def shared_layer() -> nn.Module:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), layer, nn.ReLU(), layer, nn.ReLU(), *head(4)
    )


def flattened_join() -> nn.Module:
    layers = {"a": nn.Conv2d(3, 4, 3, 3), "b": nn.Conv2d(3, 2, 3, 3), "c": nn.Linear(96, 3)}
    return Net(lambda m, x: m.c(torch.cat([m.a(x), m.b(x)], 1).relu().flatten(1)), **layers)


def channels_last_norm() -> nn.Module:
    layers = {"a": nn.Conv2d(3, 6, 3), "n": nn.LayerNorm(6), "b": nn.Linear(6, 5)}

    def forward(m, x):
        values = m.n(m.a(x).permute(0, 2, 3, 1))
        return F.silu(m.b(values)).permute(0, 3, 1, 2).mean((2, 3))

    return Net(forward, **layers)


def tokens() -> nn.Module:
    """Patches as places, a mixer over channels, the mean of the tokens."""
    layers = {"patch": nn.Conv2d(3, 6, 4, 4), "n": nn.RMSNorm(6), "a": nn.Linear(6, 8)}
    layers |= {"b": nn.Linear(4, 6), "c": nn.Linear(6, 3)}

    def forward(m, x):
        values = m.patch(x).flatten(2).transpose(1, 2)
        values = values + m.b(F.glu(m.a(m.n(values)), -1))
        return m.c(values[:, 1:].mean(1)), m.c(values[:, 0])

    return Net(forward, **layers)


IMAGE = ((2, 3, 12, 12),)
CASES: dict[str, Case] = {
    "stride, padding, dilation": Case(
        cnn(nn.ReLU(), nn.Conv2d(8, 5, 3, 2, (0, 2), (1, 2)), nn.Tanh()), IMAGE
    ),
    "kernels that are no squares": Case(
        cnn(nn.ReLU(), nn.Conv2d(8, 5, (1, 4), bias=False), nn.Tanh()), IMAGE
    ),
    "padding by name": Case(cnn(nn.ReLU(), nn.Conv2d(8, 5, 3, padding="same")), IMAGE),
    "padding by reflection": Case(
        cnn(nn.ReLU(), nn.Conv2d(8, 5, 3, padding=1, padding_mode="reflect")), IMAGE
    ),
    "one axis": Case(
        lambda: nn.Sequential(nn.Conv1d(3, 6, 3), nn.GELU(), nn.MaxPool1d(2), nn.Conv1d(6, 2, 2)),
        ((2, 3, 12),),
    ),
    "three axes": Case(
        lambda: nn.Sequential(
            nn.Conv3d(2, 4, (1, 2, 3), dilation=(1, 2, 1)),
            nn.ReLU(),
            nn.AvgPool3d(2),
            nn.ConvTranspose3d(4, 3, 2),
        ),
        ((2, 2, 6, 6, 6),),
    ),
    "transposed": Case(cnn(nn.ReLU(), nn.ConvTranspose2d(8, 5, 3, 2, 1, output_padding=1)), IMAGE),
    "transposed with groups": Case(
        cnn(nn.ReLU(), nn.ConvTranspose2d(8, 6, 3, 2, groups=2), nn.Tanh()), IMAGE
    ),
    "groups": Case(cnn(nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU()), IMAGE),
    "groups in groups": Case(
        cnn(nn.Conv2d(8, 8, 1, groups=2), nn.ReLU(), nn.Conv2d(8, 8, 1, groups=4), nn.ReLU()), IMAGE
    ),
    "depthwise": Case(cnn(nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.ReLU()), IMAGE),
    "depthwise to more": Case(cnn(nn.ReLU(), nn.Conv2d(8, 16, 3, groups=8), nn.ReLU()), IMAGE),
    "batch norm": Case(cnn(nn.BatchNorm2d(8), nn.ReLU()), IMAGE),
    "batch norm without gains": Case(cnn(nn.BatchNorm2d(8, affine=False), nn.ReLU()), IMAGE),
    "batch norm without statistics": Case(
        cnn(nn.BatchNorm2d(8, track_running_stats=False), nn.Tanh()), IMAGE
    ),
    "batch norm of points": Case(
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)),
        ((5, 3),),
    ),
    "group norm": Case(cnn(nn.GroupNorm(2, 8), nn.SiLU()), IMAGE),
    "group norm of groups": Case(
        cnn(nn.Conv2d(8, 8, 1, groups=2), nn.GroupNorm(4, 8), nn.SiLU()), IMAGE
    ),
    "instance norm": Case(cnn(nn.InstanceNorm2d(8, affine=True), nn.ReLU()), IMAGE),
    "instance norm with statistics": Case(
        cnn(nn.InstanceNorm2d(8, track_running_stats=True), nn.ReLU()), IMAGE
    ),
    "layer norm": Case(
        lambda: nn.Sequential(nn.Linear(3, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2)),
        ((5, 3),),
    ),
    "layer norm of channels": Case(channels_last_norm, IMAGE),
    "average pooling": Case(cnn(nn.Tanh(), nn.AvgPool2d(2, padding=1)), IMAGE),
    "maximum pooling": Case(cnn(nn.Tanh(), nn.MaxPool2d(3, 2)), IMAGE),
    "pooling before the activation": Case(cnn(nn.MaxPool2d(2), nn.Tanh()), IMAGE),
    "adaptive pooling": Case(cnn(nn.AdaptiveAvgPool2d(3), nn.AdaptiveMaxPool2d(2)), IMAGE),
    "upsampling": Case(cnn(nn.ReLU(), nn.Upsample(scale_factor=2), nn.Tanh()), IMAGE),
    "bilinear upsampling": Case(
        cnn(nn.ReLU(), nn.Upsample(scale_factor=2, mode="bilinear")), IMAGE
    ),
    "flatten": Case(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)),
        IMAGE,
    ),
    "flatten, then an activation": Case(
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3, 3), nn.Flatten(), nn.Tanh(), nn.Linear(64, 3)),
        IMAGE,
    ),
    "image into linear": Case(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.Linear(4, 2)),
        ((2, 3, 4, 4),),
    ),
    "flattened join": Case(flattened_join, IMAGE),
    "sum of branches": Case(two_branches(lambda m, a, b: torch.tanh(a + b)), IMAGE),
    "joined branches": Case(two_branches(lambda m, a, b: torch.cat([a, b, a], 1)), IMAGE),
    "joined places": Case(two_branches(lambda m, a, b: torch.cat([a, b], 2)), IMAGE),
    "product of branches": Case(two_branches(lambda m, a, b: a * b), IMAGE),
    "square": Case(two_branches(lambda m, a, b: a + b**2), IMAGE),
    "parts of branches": Case(two_branches(lambda m, a, b: a.chunk(2, 1)[1] + b[:, :2]), IMAGE),
    "gated channels": Case(cnn(nn.ReLU(), SqueezeExcitation(8, 3)), IMAGE),
    "gated linear unit": Case(cnn(nn.GLU(1)), IMAGE),
    "shared layer": Case(shared_layer, IMAGE),
    "tokens": Case(tokens, IMAGE),
    "VGG": Case(vgg, IMAGE),
    "ResNet-18": Case(
        lambda: resnet((2, 2, 2, 2), width=4, bottleneck=False, classes=5), ((2, 3, 32, 32),)
    ),
    "ResNet-50": Case(
        lambda: resnet((3, 4, 6, 3), width=2, bottleneck=True, classes=5), ((2, 3, 32, 32),)
    ),
    "MobileNetV2": Case(mobilenet, IMAGE),
    "EfficientNet": Case(lambda: mobilenet(nn.SiLU), IMAGE),
    "DenseNet": Case(densenet, IMAGE),
    "U-Net": Case(UNet, IMAGE),
}
