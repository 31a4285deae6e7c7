"""Torch modules of every kind that `trace` knows, with what they take."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nn_graphs.networks.activations import ACTIVATIONS, Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec


@dataclass(frozen=True)
class Architecture:
    """A module in float64 and the widths of its inputs; `leading` is the shape before channels."""

    make: Callable[[], nn.Module]
    in_widths: tuple[int, ...] = (2,)
    leading: tuple[int, ...] = (5,)

    def module(self, seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return self.make().double().eval()

    def example(self) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(*self.leading, width).double() for width in self.in_widths)

    def points(self, seed: int = 0) -> Tensor:
        """Random points, `[points, all input widths]`."""
        generator = torch.Generator().manual_seed(seed)
        shape = (torch.Size(self.leading).numel(), sum(self.in_widths))
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    @torch.no_grad()
    def outputs(self, module: nn.Module) -> Tensor:
        """What a module makes of `points()`, `[points, all output widths]`."""
        columns = self.points().unflatten(0, self.leading).split(self.in_widths, dim=-1)
        outputs = module(*columns)
        outputs = outputs.values() if isinstance(outputs, dict) else outputs
        outputs = (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)
        return torch.cat([output.flatten(0, -2) for output in outputs], dim=-1)


class Net(nn.Module):
    """Linear layers `a`, `b`, `c` ... of the given shapes, and a forward function over them."""

    def __init__(self, forward_fn: Callable, *shapes: tuple[int, int], bias: bool = True):
        super().__init__()
        self.forward_fn = forward_fn
        for name, (fan_in, width) in zip("abcdef", shapes, strict=False):
            self.add_module(name, nn.Linear(fan_in, width, bias=bias))

    def forward(self, *inputs):
        return self.forward_fn(self, *inputs)


class Sine(nn.Module):
    """sin(omega_0 z) with a constant that is a number, a plain tensor or a buffer."""

    def __init__(self, omega_0):
        super().__init__()
        self.omega_0 = omega_0

    def forward(self, values):
        return torch.sin(self.omega_0 * values)


class BufferSine(Sine):
    def __init__(self):
        nn.Module.__init__(self)
        self.register_buffer("omega_0", torch.tensor(30.0))


class Functional(nn.Module):
    """Parameters of its own, functional calls, no submodule."""

    def __init__(self):
        super().__init__()
        self.first = nn.Parameter(torch.randn(4, 2))
        self.shift = nn.Parameter(torch.randn(4))
        self.second = nn.Parameter(torch.randn(3, 4))

    def forward(self, inputs):
        hidden = F.leaky_relu(F.linear(inputs, self.first, self.shift), 0.2)
        return F.linear(hidden, self.second)


class Block(nn.Module):
    """A residual block."""

    def __init__(self, width: int):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Dropout(0.5))
        self.outer = nn.Linear(width, width)

    def forward(self, values):
        return F.relu(values + self.outer(self.inner(values)))


def chain(*activations: nn.Module) -> nn.Module:
    layers = [nn.Linear(2, 4)]
    for activation in activations:
        layers += [activation, nn.Linear(4, 4)]
    return nn.Sequential(*layers, nn.Tanh(), nn.Linear(4, 3))


def tied_parameters() -> nn.Module:
    net = Net(lambda m, x: m.c(torch.tanh(m.b(torch.sin(m.a(x))))), (3, 3), (3, 3), (3, 2))
    net.b.weight, net.b.bias = net.a.weight, net.a.bias
    return net


def with_unused() -> nn.Module:
    net = Net(lambda m, x: m.b(torch.relu(m.a(x))), (2, 4), (4, 1), (4, 7))
    net.scale = nn.Parameter(torch.tensor(3.0))
    net.register_buffer("steps", torch.tensor(7))
    return net


def net(forward_fn: Callable, *shapes: tuple[int, int], bias: bool = True) -> Callable:
    return partial(Net, forward_fn, *shapes, bias=bias)


def add_first_channels(total: Tensor, addend: Tensor) -> Tensor:
    missing = total.shape[-1] - addend.shape[-1]
    return total + F.pad(addend[..., : total.shape[-1]], (0, max(missing, 0)))


def read_twice(m, x):
    hidden = torch.tanh(m.a(x))
    return m.b(hidden) + m.c(hidden)


def added_to_itself(m, x):
    total = m.a(x)
    return m.b(torch.tanh(total + total))


def sum_of_many(m, x):
    first = torch.tanh(m.a(x))
    second = torch.sin(m.b(first))
    return m.d(torch.relu(m.c(second) + first + second + first))


def two_activations_of_one_sum(m, x):
    total = m.a(x)
    return m.b(torch.relu(total)) + m.c(torch.tanh(total))


def outputs_in_other_order(m, x):
    first, second = m.a(x), m.b(x)
    hidden = torch.tanh(second)
    return m.c(hidden), hidden, first


def arithmetic(m, x):
    hidden = 2 - torch.tanh(m.a(x) / 3) * 0.5
    return (m.b(hidden) - hidden) / 2 + 0.25 - (-m.c(hidden))


def in_place(m, x):
    total = m.a(x)
    seen = total.view(-1, 4)
    total.relu_().mul_(2.0).add_(1.0)
    return m.b(seen + m.c(total))


def reshaped(m, x):
    hidden = F.dropout(m.a(x).reshape(-1, 4), 0.5, m.training)
    return m.b(torch.tanh(hidden).unflatten(0, x.shape[:-1]).contiguous()).clone()


def first_channels(m, x):
    hidden = torch.tanh(m.a(x))
    return m.b(hidden[..., :2]) + m.c(hidden)


def padded_then_read(m, x):
    return m.b(F.pad(torch.tanh(m.a(x)), (0, 2), "constant", 0.0))


BRANCH = ((2, 4), (4, 4), (4, 4), (4, 3))
ARCHITECTURES: dict[str, Architecture] = {
    "chain": Architecture(partial(chain, nn.ReLU())),
    "one layer": Architecture(partial(nn.Linear, 2, 3)),
    "widths of one": Architecture(net(lambda m, x: m.b(torch.sin(m.a(x))), (1, 1), (1, 1)), (1,)),
    "sequential": Architecture(partial(chain, nn.GELU(), nn.LeakyReLU(0.3), nn.Sigmoid())),
    "tanh gelu": Architecture(partial(chain, nn.GELU(approximate="tanh"))),
    "in-place modules": Architecture(
        partial(chain, nn.ReLU(inplace=True), nn.SiLU(inplace=True), nn.LeakyReLU(inplace=True))
    ),
    "sine of a product": Architecture(
        net(lambda m, x: m.b(torch.sin(m.a(x) * 30.0)), (2, 4), (4, 1))
    ),
    "sine module": Architecture(partial(chain, Sine(30), Sine(-0.1))),
    "sine with a tensor": Architecture(lambda: chain(Sine(torch.tensor(30.0)))),
    "sine with a buffer": Architecture(lambda: chain(BufferSine())),
    "sine of a literal": Architecture(
        net(lambda m, x: m.b(torch.sin(torch.tensor(7.0) * m.a(x))), (2, 4), (4, 1))
    ),
    "functional": Architecture(Functional),
    "nested": Architecture(
        lambda: nn.Sequential(nn.Linear(2, 4), nn.Sequential(Block(4), Block(4)), nn.Linear(4, 1))
    ),
    "no bias": Architecture(net(lambda m, x: m.b(torch.relu(m.a(x))), (2, 4), (4, 1), bias=False)),
    "skip": Architecture(
        net(lambda m, x: m.c(torch.relu(m.b(torch.tanh(m.a(x))) + m.a(x))), *BRANCH)
    ),
    "skip from the input": Architecture(
        net(lambda m, x: m.b(torch.relu(add_first_channels(m.a(x), x))), (2, 4), (4, 1))
    ),
    "skip to fewer": Architecture(
        net(
            lambda m, x: m.c(F.relu(add_first_channels(m.b(h := torch.tanh(m.a(x))), h))),
            (2, 5),
            (5, 3),
            (3, 2),
        )
    ),
    "skip to more": Architecture(
        net(
            lambda m, x: m.c(F.relu(add_first_channels(m.b(h := torch.tanh(m.a(x))), h))),
            (2, 3),
            (3, 5),
            (5, 2),
        )
    ),
    "skip to the output": Architecture(
        net(lambda m, x: m.b(torch.tanh(m.a(x))) + x, (2, 4), (4, 2))
    ),
    "sum of many": Architecture(net(sum_of_many, *BRANCH)),
    "read twice": Architecture(net(read_twice, *BRANCH)),
    "added to itself": Architecture(net(added_to_itself, *BRANCH)),
    "two activations": Architecture(net(two_activations_of_one_sum, *BRANCH)),
    "tied layers": Architecture(
        net(lambda m, x: m.b(torch.tanh(m.a(torch.tanh(m.a(x))))), (3, 3), (3, 2)), (3,)
    ),
    "tied parameters": Architecture(tied_parameters, (3,)),
    "tied and summed": Architecture(
        net(lambda m, x, y: m.b(torch.tanh(m.a(x)) + torch.tanh(m.a(y))), (2, 4), (4, 1)), (2, 2)
    ),
    "dropout and reshapes": Architecture(net(reshaped, *BRANCH), leading=(3, 2)),
    "three axes": Architecture(partial(chain, nn.ReLU()), leading=(2, 3)),
    "one point": Architecture(partial(chain, nn.ReLU()), leading=(1,)),
    "two inputs": Architecture(
        net(lambda m, x, y: m.c(torch.relu(m.a(x) + m.b(y))), (2, 4), (3, 4), (4, 1)), (2, 3)
    ),
    "input of the last layer": Architecture(
        net(lambda m, x, y: m.b(torch.relu(m.a(x))) + y, (2, 4), (4, 3)), (2, 3)
    ),
    "unused input": Architecture(net(lambda m, x, y: m.a(y), (3, 1)), (2, 3)),
    "several outputs": Architecture(net(outputs_in_other_order, (2, 3), (2, 4), (4, 2))),
    "outputs as a dict": Architecture(
        net(lambda m, x: {"one": m.a(x), "two": torch.tanh(m.b(x))}, (2, 3), (2, 4))
    ),
    "the same output twice": Architecture(net(lambda m, x: [y := m.a(x), y], (2, 3))),
    "the input as output": Architecture(net(lambda m, x: (x, m.a(x)), (2, 3))),
    "activation of the input": Architecture(net(lambda m, x: m.a(torch.tanh(x)), (2, 3))),
    "activation after a shift": Architecture(
        net(lambda m, x: m.b(torch.relu(torch.tanh(m.a(x)) + 0.5)), (2, 4), (4, 1))
    ),
    "arithmetic": Architecture(net(arithmetic, *BRANCH[:3])),
    "in place": Architecture(net(in_place, *BRANCH[:2], (4, 4))),
    "first channels": Architecture(net(first_channels, (2, 4), (2, 3), (4, 3))),
    "padded": Architecture(net(padded_then_read, (2, 4), (6, 3))),
    "unused parameters": Architecture(with_unused),
}
for name in ACTIVATIONS:
    ARCHITECTURES[f"spec with {name}"] = Architecture(
        NetworkSpec.mlp((2, 4, 4, 3), activation=Activation(name)).make_module
    )

# Those whose neurons are bound in different ways; the others differ in how they are traced.
BOUND_APART = (
    *("one layer", "widths of one", "sequential", "sine module", "nested"),
    *("skip", "skip from the input", "skip to fewer", "skip to more", "skip to the output"),
    *("sum of many", "read twice", "added to itself", "two activations"),
    *("tied layers", "tied parameters", "tied and summed"),
    *("two inputs", "several outputs", "the input as output"),
    *("activation after a shift", "arithmetic", "first channels", "padded", "unused parameters"),
    *("spec with none", "spec with hardtanh"),
)


def random_spec(seed: int) -> NetworkSpec:
    """A small architecture with skips, offsets, missing biases and mixed activations."""
    generator = torch.Generator().manual_seed(seed)

    def draw(stop: int) -> int:
        return int(torch.randint(stop, (), generator=generator))

    layers = []
    for number in range(1, 2 + draw(4)):
        name = list(ACTIVATIONS)[draw(len(ACTIVATIONS))]
        layers.append(
            LayerSpec(
                width=1 + draw(6),
                activation=Activation(name, 0.3 + draw(5) if name == "sine" else None),
                has_bias=draw(4) > 0,
                skips=tuple(skip for skip in range(number) if draw(3) == 0),
                offset=0.5 * (draw(4) == 0),
            )
        )
    return NetworkSpec(1 + draw(4), tuple(layers))


# The last ones: sines that are outputs, with and without a bias, and sines that skips tie.
RANDOM_SEEDS = (*range(20), 26, 27, 40, 303)
SPECS: dict[str, NetworkSpec] = {
    "INR": NetworkSpec.mlp((2, 4, 4, 1), activation=Activation("sine", 30.0), offset=0.5),
    "one layer": NetworkSpec(3, (LayerSpec(2),)),
    "widths of one": NetworkSpec.mlp((1, 1, 1), activation=Activation("relu")),
    "skip twice": NetworkSpec(2, (LayerSpec(3, Activation("tanh")), LayerSpec(3, skips=(1, 1)))),
    **{f"random {seed}": random_spec(seed) for seed in RANDOM_SEEDS},
}
