"""The published DWSNets once more: slow, plain, one network at a time, from their description.

Loops over neurons, in float64, with nothing of `nn_graphs`; tensors have the public code's names,
and come to be where they are first read, so that what was read is a checkpoint (`State.tensors`).
Navon et al., ICML 2023, and the maps of AvivNavon/DWSNets, pair by pair. `weights[i]` is
`[layer_layout[i], layer_layout[i + 1], channels]`, inputs first, `biases[i]` those behind it.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

Values = tuple[list[Tensor], list[Tensor]]  # of weights, and of biases


@dataclass(frozen=True)
class Options:
    """What the public constructors take."""

    dims: tuple[int, ...] = (4, 4, 4)
    reduction: str = "max"
    set_layer: str = "sab"
    num_heads: int = 2
    n_fc_layers: int = 1
    n_out_fc: int = 1
    bias: bool = True
    bn: bool = True
    diagonal: bool = False
    add_skip: bool = False
    add_layer_skip: bool = False
    downsample: int = 0
    out_scale: bool = False
    num_classes: int = 3


@dataclass
class State:
    """Named tensors with random values, made at first use."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    prefix: str = ""

    def __call__(self, name: str, *shape: int, is_positive: bool = False) -> Tensor:
        name = self.prefix + name
        if name not in self.tensors:
            generator = torch.Generator().manual_seed(len(self.tensors))
            value = torch.randn(shape, generator=generator, dtype=torch.float64)
            self.tensors[name] = value.abs() + 0.5 if is_positive else 0.7 * value
        assert self.tensors[name].shape == shape
        return self.tensors[name]

    def at(self, prefix: str) -> "State":
        return State(self.tensors, self.prefix + prefix)


def classes(weights: list[Tensor], biases: list[Tensor], state: State, options: Options) -> Tensor:
    """Outputs of the classifier of one network."""
    new_weights, new_biases = encode(weights, biases, state.at("layers."), options)
    new_weights = [value.relu() for value in new_weights]
    new_biases = [value.relu() for value in new_biases]
    first, *hidden, last = new_weights

    def reduced(values: list[Tensor]) -> Tensor:
        return reduce(values, options)

    parts = [reduced([cell for row in weight for cell in row]) for weight in hidden]
    parts += [reduced(list(source)) for source in first]
    parts += [reduced(list(last[:, output])) for output in range(last.shape[1])]
    parts += [reduced(list(bias)) for bias in new_biases[:-1]] + list(new_biases[-1])
    sizes = [options.num_classes] * options.n_out_fc
    return mlp(torch.cat(parts), state.at("clf.layer."), sizes, has_bias=True)


def new_parameters(
    weights: list[Tensor], biases: list[Tensor], state: State, options: Options
) -> Values:
    """The old parameters and what the model of one output channel adds."""
    new_weights, new_biases = encode(weights, biases, state, options)
    for kind, values in (("weight", new_weights), ("bias", new_biases)):
        for number in range(len(values) if options.out_scale else 0):
            values[number] = values[number] * state(f"{kind}_scale.{number}")
    added = [old + new for old, new in zip(weights, new_weights, strict=True)]
    return added, [old + new for old, new in zip(biases, new_biases, strict=True)]


def encode(weights: list[Tensor], biases: list[Tensor], state: State, options: Options) -> Values:
    """Channels of all weights and biases behind the last layer, without a relu."""
    values, stride = (weights, biases), 4 if options.bn else 3
    for number, dim in enumerate(options.dims):
        if number:
            if options.bn:
                values = batch_norm(values, state.at(f"layers.{stride * number - 3}."))
            values = tuple([value.relu() for value in part] for part in values)
        is_last = 0 < number == len(options.dims) - 1
        num_heads = 1 if is_last else options.num_heads
        layer = Layer(values, state.at(f"layers.{stride * number}."), options, dim, num_heads)
        values = layer.sampled() if options.downsample else layer()
    if options.add_skip:
        values = tuple(
            [
                each(old, lambda x: linear(x, state.at("skip."), options.dims[-1], options.bias))
                + new
                for old, new in zip(olds, news, strict=True)
            ]
            for olds, news in zip((weights, biases), values, strict=True)
        )
    return values


def batch_norm(values: Values, state: State) -> Values:
    """In evaluation: by running statistics, every tensor with its own."""
    new = []
    for kind, part in zip(("weights", "biases"), values, strict=True):
        new.append([])
        for number, value in enumerate(part):
            own, dim = state.at(f"{kind}_bn.{number}."), value.shape[-1]
            own.tensors[own.prefix + "num_batches_tracked"] = torch.tensor(3)
            centred = value - own("running_mean", dim)
            deviation = torch.sqrt(own("running_var", dim, is_positive=True) + 1e-5)
            new[-1].append(centred / deviation * own("weight", dim) + own("bias", dim))
    return tuple(new)


def linear(x: Tensor, state: State, out_dim: int, has_bias: bool) -> Tensor:
    y = state("weight", out_dim, len(x)) @ x
    return y + state("bias", out_dim) if has_bias else y


def mlp(x: Tensor, state: State, sizes: list[int], has_bias: bool) -> Tensor:
    for number, size in enumerate(sizes):
        x = x.relu() if number else x
        x = linear(x, state.at(f"{2 * number}."), size, has_bias)
    return x


def each(values: Tensor, function) -> Tensor:
    """A function of the channels at every place."""
    rows = [function(row) for row in values.reshape(-1, values.shape[-1])]
    return torch.stack(rows).reshape(*values.shape[:-1], -1)


def reduce(values: list[Tensor], options: Options) -> Tensor:
    stacked = torch.stack(list(values))
    if options.reduction == "max":
        return stacked.max(dim=0).values
    total = stacked.sum(dim=0)
    return total / len(stacked) if options.reduction == "mean" else total


def chunk(x: Tensor, number: int, dim: int) -> Tensor:
    return x[number * dim : (number + 1) * dim]


class Layer:
    """One equivariant layer on one network."""

    def __init__(
        self, values: Values, state: State, options: Options, out_dim: int, num_heads: int
    ):
        self.weights, self.biases = values
        self.state, self.options, self.num_heads = state, options, num_heads
        self.dim, self.last = out_dim, len(self.weights) - 1

    def __call__(self) -> Values:
        count = self.last + 1
        new_weights = [0.0] * count
        new_biases = [0.0] * count
        for i in range(count):
            for j in range(count):
                near = not self.options.diagonal
                if near or abs(i - j) <= 1:
                    new_weights[j] = new_weights[j] + self.weight_to_weight(i, j)
                if near or j in (i, i + 1):
                    new_weights[j] = new_weights[j] + self.bias_to_weight(i, j)
                if near or j in (i, i - 1):
                    new_biases[j] = new_biases[j] + self.weight_to_bias(i, j)
                if near or i == j:
                    new_biases[j] = new_biases[j] + self.bias_to_bias(i, j)
        new_weights = [value / (2 * count) for value in new_weights]
        new_biases = [value / (2 * count) for value in new_biases]
        if self.options.add_layer_skip:
            pairs = zip(new_weights, self.weights, strict=True)
            new_weights = [new + self.skip(old) for new, old in pairs]
            pairs = zip(new_biases, self.biases, strict=True)
            new_biases = [new + self.skip(old) for new, old in pairs]
        return new_weights, new_biases

    def sampled(self) -> Values:
        """With mixtures in the place of the inputs, and a skip around all for the first weight."""
        first = self.weights[0]
        self.weights = [self.mixed(first, "down", self.options.downsample), *self.weights[1:]]
        weights, biases = self()
        last = self.mixed(weights[0], "up", first.shape[0]) + self.skip(first)
        return [last, *weights[1:]], biases

    def mixed(self, weight: Tensor, name: str, count: int) -> Tensor:
        """`[inputs, neurons, channels]` with other inputs: neurons are a set for every channel."""
        own = self.state.at(f"{name}_sample.set_layer.")
        query = own("attn.query", weight.shape[0])
        channels = []
        for channel in weight.unbind(-1):
            neurons = list(channel.T)
            shares = torch.softmax(torch.stack([query @ neuron for neuron in neurons]), dim=0)
            common = sum(share * neuron for share, neuron in zip(shares, neurons, strict=True))
            channels.append(torch.stack(self.differences(neurons, common, own, count), dim=1))
        return torch.stack(channels, dim=-1)

    def skip(self, values: Tensor) -> Tensor:
        return each(values, lambda x: self.mlp(x, "skip.", self.dim))

    def mlp(self, x: Tensor, name: str, out_dim: int) -> Tensor:
        sizes = [out_dim] * self.options.n_fc_layers
        return mlp(x, self.state.at(name), sizes, self.options.bias)

    def set(self, items: list[Tensor], name: str, out_dim: int) -> list[Tensor]:
        own = self.state.at(name + "set_layer.")
        if self.options.set_layer == "ds":
            return self.differences(items, reduce(items, self.options), own, out_dim)
        return self.attention(items, own.at("mab."), out_dim)

    def differences(
        self, items: list[Tensor], common: Tensor, state: State, out_dim: int
    ) -> list[Tensor]:
        sizes = [out_dim] * self.options.n_fc_layers
        less = mlp(common, state.at("Lambda."), sizes, has_bias=False)
        return [mlp(x, state.at("Gamma."), sizes, self.options.bias) - less for x in items]

    def attention(self, items: list[Tensor], state: State, out_dim: int) -> list[Tensor]:
        queries, keys, values = (
            [linear(x, state.at(f"fc_{name}."), out_dim, True) for x in items] for name in "qkv"
        )
        size, new = out_dim // self.num_heads, []
        for query in queries:
            heads = []
            for head in range(self.num_heads):
                own = chunk(query, head, size)
                scores = [own @ chunk(key, head, size) / math.sqrt(out_dim) for key in keys]
                shares = torch.softmax(torch.stack(scores), dim=0)
                pairs = zip(shares, values, strict=True)
                heads.append(own + sum(share * chunk(v, head, size) for share, v in pairs))
            joined = torch.cat(heads)
            new.append(joined + linear(joined, state.at("fc_o."), out_dim, True).relu())
        return new

    # What tensors are reduced to: hidden neurons are, inputs and outputs stay apart.

    def by_target(self, i: int) -> list[Tensor]:
        """Of weight i, for every neuron that its edges end at."""
        columns = self.weights[i].unbind(1)
        return [torch.cat(list(c)) if i == 0 else reduce(list(c), self.options) for c in columns]

    def by_source(self, i: int) -> list[Tensor]:
        """Of weight i, for every neuron that its edges start from."""
        return [
            torch.cat(list(row)) if i == self.last else reduce(list(row), self.options)
            for row in self.weights[i]
        ]

    def whole_weight(self, i: int) -> Tensor:
        weight = self.weights[i]
        if i == 0:
            return torch.cat([reduce(list(row), self.options) for row in weight])
        if i == self.last:
            return torch.cat([reduce(list(c), self.options) for c in weight.unbind(1)])
        return reduce(list(weight.flatten(0, 1)), self.options)

    def whole_bias(self, i: int) -> Tensor:
        bias = self.biases[i]
        return bias.flatten() if i == self.last else reduce(list(bias), self.options)

    # The maps.

    def weight_like(self, j: int, value) -> Tensor:
        """A new weight j, of what `value` says of source a and target b."""
        sources, targets = self.weights[j].shape[:2]
        return torch.stack(
            [torch.stack([value(a, b) for b in range(targets)]) for a in range(sources)]
        )

    def weight_to_weight(self, i: int, j: int) -> Tensor:
        name, dim = f"weight_to_weight.layers.{i}_{j}.", self.dim
        num_inputs, num_outputs = self.weights[0].shape[0], self.weights[-1].shape[1]
        if i == j == 0:
            new = self.set(self.by_target(0), name + "set_layer.", num_inputs * dim)
            return self.weight_like(0, lambda a, b: chunk(new[b], a, dim))
        if i == j == self.last:
            new = self.set(self.by_source(i), name + "set_layer.", num_outputs * dim)
            return self.weight_like(j, lambda a, b: chunk(new[a], b, dim))
        if i == j:
            by_target, by_source = self.by_target(i), self.by_source(i)
            rows = [self.mlp(x, name + "lin_n.", dim) for x in by_target]
            columns = [self.mlp(x, name + "lin_m.", dim) for x in by_source]
            both = self.mlp(self.whole_weight(i), name + "lin_both.", dim)
            own = each(self.weights[i], lambda x: self.mlp(x, name + "lin_all.", dim))
            return self.weight_like(i, lambda a, b: (own[a, b] + rows[b] + columns[a] + both) / 4)
        if i == j - 1:  # the last weight too gets the same for all outputs
            new = self.set(self.by_target(i), name + "set_layer.", dim)
            return self.weight_like(j, lambda a, b: new[a])
        if i == j + 1:
            count = num_inputs if j == 0 else 1
            new = self.set(self.by_source(i), name + "set_layer.", count * dim)
            return self.weight_like(j, lambda a, b: chunk(new[b], a if j == 0 else 0, dim))
        count = num_inputs if j == 0 else num_outputs if j == self.last else 1
        new = self.mlp(self.whole_weight(i), name + "layer.", count * dim)
        if j == 0:
            return self.weight_like(j, lambda a, b: chunk(new, a, dim))
        return self.weight_like(j, lambda a, b: chunk(new, b if j == self.last else 0, dim))

    def bias_to_weight(self, i: int, j: int) -> Tensor:
        name, dim = f"bias_to_weight.layers.{i}_{j}.layer.", self.dim
        num_inputs, num_outputs = self.weights[0].shape[0], self.weights[-1].shape[1]
        bias = list(self.biases[i])
        if i == j == self.last:
            new = self.mlp(self.whole_bias(i), name, num_outputs * dim)
            return self.weight_like(j, lambda a, b: chunk(new, b, dim))
        if i == j:
            count = num_inputs if i == 0 else 1
            new = self.set(bias, name, count * dim)
            return self.weight_like(j, lambda a, b: chunk(new[b], a if i == 0 else 0, dim))
        if i == j - 1:
            is_last = j == self.last
            new = self.set(bias, name, (num_outputs if is_last else 1) * dim)
            return self.weight_like(j, lambda a, b: chunk(new[a], b if is_last else 0, dim))
        new = self.mlp(self.whole_bias(i), name, (num_inputs if j == 0 else 1) * dim)
        return self.weight_like(j, lambda a, b: chunk(new, a if j == 0 else 0, dim))

    def weight_to_bias(self, i: int, j: int) -> Tensor:
        name, dim = f"weight_to_bias.layers.{i}_{j}.layer.", self.dim
        count = len(self.biases[j])
        if i == j != self.last:
            return torch.stack(self.set(self.by_target(i), name, dim))
        if i == j + 1:
            return torch.stack(self.set(self.by_source(i), name, dim))
        return self.to_bias(self.whole_weight(i), name, j, count)

    def bias_to_bias(self, i: int, j: int) -> Tensor:
        name = f"bias_to_bias.layers.{i}_{j}.layer."
        if i == j != self.last:
            return torch.stack(self.set(list(self.biases[i]), name, self.dim))
        return self.to_bias(self.whole_bias(i), name, j, len(self.biases[j]))

    def to_bias(self, x: Tensor, name: str, j: int, count: int) -> Tensor:
        """Outputs each get their own, hidden neurons all the same."""
        if j == self.last:
            return self.mlp(x, name, count * self.dim).reshape(count, self.dim)
        return self.mlp(x, name, self.dim).repeat(count, 1)
