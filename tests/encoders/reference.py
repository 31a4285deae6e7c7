"""NG-GNN and NG-T once more: slow, plain, one network at a time, from the published description.

Loops over neurons and pairs of neurons, in float64, with nothing of `nn_graphs` but the names of
the entries of its state dicts. Kofinas et al., ICLR 2024, sec. 3, 4 and app. C; Diao & Loynd, ICLR
2023. `E[i, j]` is the weight of the edge from neuron i to neuron j, 0 where there is none.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

State = dict[str, Tensor]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Network:
    """An INR: sines in the hidden layers, and a constant added to its outputs.

    `weights[l]` is `[layer_layout[l + 1], layer_layout[l]]`, `biases[l]` `[layer_layout[l + 1]]`.
    """

    layer_layout: tuple[int, ...]
    weights: list[Tensor]
    biases: list[Tensor]
    omega_0: float
    offset: float

    @property
    def layers(self) -> list[list[int]]:
        """Numbers of the neurons of each layer."""
        starts = [sum(self.layer_layout[:layer]) for layer in range(len(self.layer_layout))]
        widths = self.layer_layout
        return [list(range(s, s + w)) for s, w in zip(starts, widths, strict=True)]

    @property
    def num_nodes(self) -> int:
        return sum(self.layer_layout)

    def activations(self, inputs: Tensor) -> list[Tensor]:
        """`[points, width]` of every layer."""
        values = [inputs]
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            total = values[-1] @ weight.T + bias
            is_last = layer == len(self.weights) - 1
            values.append(total + self.offset if is_last else torch.sin(self.omega_0 * total))
        return values


# The encoders.


def ng_gnn(
    network: Network, state: State, *, is_bidirectional: bool = True, has_residuals: bool = False
) -> tuple[list[Tensor], dict[Pair, Tensor]]:
    """Vectors of the neurons, and of the edges in the direction of the network."""
    has_reverse = is_bidirectional
    forward = [(i, j) for before, after in pairwise(network.layers) for i in before for j in after]
    edges = forward + [(j, i) for i, j in forward] * is_bidirectional
    nodes = initial_nodes(network, state)
    pairs = initial_pairs(network, state, has_reverse=has_reverse)
    vectors = {edge: pairs[edge[0]][edge[1]] for edge in edges}
    senders = [
        [j for j in range(network.num_nodes) if (j, i) in vectors] for i in range(len(nodes))
    ]
    mean_log_degree = sum(math.log(len(s) + 1) for s in senders) / len(senders)

    num_layers = _count(state, "layers")
    for layer in range(num_layers):
        before = nodes
        nodes = _pna(f"layers.{layer}", state, nodes, vectors, senders, mean_log_degree)
        if layer == num_layers - 1:
            break
        nodes = _whole_graph_norm(f"norms.{layer}", state, nodes)
        nodes = [_silu(x) for x in nodes]
        if has_residuals:
            nodes = [x + y for x, y in zip(before, nodes, strict=True)]
        name = f"edge_updates.{layer}"
        vectors = {
            (j, i): _linear(
                f"{name}.out",
                state,
                _silu(
                    _linear(f"{name}.from_edge", state, vector)
                    + _linear(f"{name}.from_source", state, nodes[j])
                    + _linear(f"{name}.from_target", state, nodes[i])
                ),
            )
            for (j, i), vector in vectors.items()
        }
    return nodes, {edge: vectors[edge] for edge in forward}


def ng_t(
    network: Network,
    state: State,
    *,
    num_heads: int,
    has_reverse: bool = False,
    only_edges: bool = False,
) -> tuple[list[Tensor], list[list[Tensor]], Tensor | None]:
    """Vectors of the neurons, of the pairs (i, j) of neurons, and of the graph's own node.

    With `only_edges`, neurons attend to those that an edge joins them to, in either direction.
    """
    nodes = initial_nodes(network, state)
    pairs = initial_pairs(network, state, has_reverse=has_reverse)
    count = network.num_nodes
    seen = [list(range(count)) for _ in range(count)]
    if only_edges:
        layer_of = {i: number for number, layer in enumerate(network.layers) for i in layer}
        seen = [[j for j in s if abs(layer_of[i] - layer_of[j]) == 1] for i, s in enumerate(seen)]
    if "cls_token" in state:
        nothing = torch.zeros_like(pairs[0][0])
        nodes = [state["cls_token"], *nodes]
        pairs = [[nothing] * (count + 1), *([nothing, *row] for row in pairs)]
        seen = [list(range(count + 1))] * (count + 1)

    for layer in range(_count(state, "node_updates")):
        name = f"node_updates.{layer}"
        attended = [
            _attention(f"{name}.attention", state, i, nodes, pairs, seen[i], num_heads)
            for i in range(len(nodes))
        ]
        attended = [_linear(f"{name}.attended", state, x) for x in attended]
        nodes = [
            _layer_norm(f"{name}.norms.0", state, x + a)
            for x, a in zip(nodes, attended, strict=True)
        ]
        nodes = [
            _layer_norm(f"{name}.norms.1", state, x + _mlp(f"{name}.feed_forward", state, x))
            for x in nodes
        ]
        if layer < _count(state, "edge_updates"):
            pairs = _update_pairs(f"edge_updates.{layer}", state, nodes, pairs)
    if "cls_token" in state:
        return nodes[1:], [row[1:] for row in pairs[1:]], nodes[0]
    return nodes, pairs, None


# The heads.


def class_logits(network: Network, state: State, nodes: list[Tensor]) -> Tensor:
    """The vectors of the last layer behind each other, through linear maps with relu between."""
    values = torch.cat([nodes[i] for i in network.layers[-1]])
    numbers = sorted({int(name.split(".")[1]) for name in state if name.startswith("mlp.")})
    for number in numbers:
        values = _linear(f"mlp.{number}", state, values)
        if number != numbers[-1]:
            values = values.clamp_min(0)
    return values


def new_parameters(
    network: Network, state: State, nodes: list[Tensor], edge_vectors: dict[Pair, Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Weights and biases with the outputs of the equivariant head added to them."""
    weights = [weight.clone() for weight in network.weights]
    biases = [bias.clone() for bias in network.biases]
    layers = network.layers
    for layer in range(len(weights)):
        weight_scale = state["new.weight_factor"][layer] * state["new.weight_std"][layer + 1]
        bias_scale = state["new.bias_factor"][layer] * state["new.bias_std"][layer + 1]
        for o, j in enumerate(layers[layer + 1]):
            biases[layer][o] += bias_scale * _head("node_head.mlp", state, nodes[j])
            for k, i in enumerate(layers[layer]):
                change = _head("edge_head.mlp", state, edge_vectors[i, j])
                weights[layer][o, k] += weight_scale * change
    return weights, biases


# The input stage.


def initial_nodes(network: Network, state: State) -> list[Tensor]:
    """A vector for the bias of every neuron, plus probe features, plus its position."""
    nodes: list[Tensor] = []
    num_inputs, num_hidden = network.layer_layout[0], len(network.layer_layout) - 2
    has_probes = "features.probe_features.probes" in state
    activations = []
    if has_probes:
        activations = network.activations(state["features.probe_features.probes"])
    for layer, neurons in enumerate(network.layers):
        for k in range(len(neurons)):
            bias = torch.zeros(1, dtype=torch.float64)
            if layer > 0:
                mean, std = (state[f"features.bias_{name}"][layer] for name in ("mean", "std"))
                bias = (network.biases[layer - 1][k : k + 1] - mean) / std
            vector = _value_embedding("features.bias_embedding", state, bias)
            if has_probes:
                name = f"features.probe_features.projections.{layer}"
                projected = _linear(f"{name}.0", state, activations[layer][:, k])
                vector = vector + _layer_norm(f"{name}.1", state, projected)
            if layer == 0:
                position = k
            elif layer <= num_hidden:
                position = num_inputs + layer - 1
            else:
                position = num_inputs + num_hidden + k
            vector = _linear("features.node_in", state, vector)
            nodes.append(vector + state["features.positions"][position])
    return nodes


def initial_pairs(network: Network, state: State, *, has_reverse: bool) -> list[list[Tensor]]:
    """A vector for every pair of neurons, joined by an edge or not."""
    count = network.num_nodes
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for layer, weight in enumerate(network.weights, start=1):
        mean, std = (state[f"features.weight_{name}"][layer] for name in ("mean", "std"))
        for o, j in enumerate(network.layers[layer]):
            for k, i in enumerate(network.layers[layer - 1]):
                matrix[i, j] = (weight[o, k] - mean) / std
    pairs = []
    for i in range(count):
        pairs.append([])
        for j in range(count):
            values = matrix[i, j].reshape(1)
            if has_reverse:
                values = torch.stack([matrix[i, j], matrix[j, i], matrix[i, j] + matrix[j, i]])
            vector = _value_embedding("features.weight_embedding", state, values)
            pairs[-1].append(_linear("features.edge_in", state, vector))
    return pairs


def _value_embedding(name: str, state: State, values: Tensor) -> Tensor:
    if f"{name}.0.frequencies" not in state:
        return _linear(f"{name}.0", state, values)
    phases = 2 * math.pi * (state[f"{name}.0.frequencies"] @ values)
    return _linear(f"{name}.1", state, torch.cat([torch.cos(phases), torch.sin(phases)]))


# Pieces.


def _pna(
    name: str,
    state: State,
    nodes: list[Tensor],
    vectors: dict[Pair, Tensor],
    senders: list[list[int]],
    mean_log_degree: float,
) -> list[Tensor]:
    updated = []
    for i, x in enumerate(nodes):
        messages = []
        for j in senders[i]:
            both = _linear(f"{name}.message", state, torch.cat([x, nodes[j]]))
            scale, shift = _linear(f"{name}.modulation", state, vectors[j, i]).split(len(x))
            messages.append(scale * both + shift)
        parts = [torch.zeros_like(x)] * 4
        if messages:
            table = torch.stack(messages)
            mean = table.mean(0)
            std = ((table - mean).square().mean(0) + 1e-5).sqrt()
            parts = [mean, table.min(0).values, table.max(0).values, std]
        amplification = math.log(len(messages) + 1) / mean_log_degree
        scaled = [amplification * part for part in parts]
        updated.append(_linear(f"{name}.update", state, torch.cat([x, *parts, *scaled])))
    return [_linear(f"{name}.out", state, x) for x in updated]


def _attention(
    name: str,
    state: State,
    i: int,
    nodes: list[Tensor],
    pairs: list[list[Tensor]],
    seen: list[int],
    num_heads: int,
) -> Tensor:
    """What neuron i gathers from the neurons that it sees."""
    dim = state[f"{name}.from_node.weight"].shape[0] // 3
    head_dim = dim // num_heads
    query = (state[f"{name}.from_node.weight"] @ nodes[i])[:dim]
    scores, values = [], []
    for j in seen:
        _, key, value = (state[f"{name}.from_node.weight"] @ nodes[j]).split(dim)
        parts = (state[f"{name}.from_edge.weight"] @ pairs[i][j]).split(dim)
        edge_query, edge_key, edge_value, edge_scale = parts
        product = (query + edge_query) * (key + edge_key) / math.sqrt(dim)
        scores.append([product[h * head_dim : (h + 1) * head_dim].sum() for h in range(num_heads)])
        values.append(value * edge_scale + edge_value)
    gathered = torch.zeros(dim, dtype=torch.float64)
    for h in range(num_heads):
        part = slice(h * head_dim, (h + 1) * head_dim)
        weights = torch.softmax(torch.stack([score[h] for score in scores]), dim=0)
        for weight, value in zip(weights, values, strict=True):
            gathered[part] += weight * value[part]
    return _linear(f"{name}.out", state, gathered)


def _update_pairs(
    name: str, state: State, nodes: list[Tensor], pairs: list[list[Tensor]]
) -> list[list[Tensor]]:
    updated = []
    for i in range(len(nodes)):
        updated.append([])
        for j in range(len(nodes)):
            hidden = _linear(f"{name}.from_edges", state, torch.cat([pairs[i][j], pairs[j][i]]))
            hidden = hidden + _linear(f"{name}.from_target", state, nodes[i])
            hidden = hidden + _linear(f"{name}.from_source", state, nodes[j])
            change = _linear(f"{name}.mixed", state, _gelu(hidden))
            vector = _layer_norm(f"{name}.norms.0", state, pairs[i][j] + change)
            change = _mlp(f"{name}.feed_forward", state, vector)
            updated[-1].append(_layer_norm(f"{name}.norms.1", state, vector + change))
    return updated


def _whole_graph_norm(name: str, state: State, nodes: list[Tensor]) -> list[Tensor]:
    """Mean and variance of all channels of all neurons of the graph."""
    values = torch.cat(nodes)
    mean, variance = values.mean(), values.var(unbiased=False)
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return [(x - mean) / torch.sqrt(variance + 1e-5) * weight + bias for x in nodes]


def _layer_norm(name: str, state: State, values: Tensor) -> Tensor:
    normalised = (values - values.mean()) / torch.sqrt(values.var(unbiased=False) + 1e-5)
    return normalised * state[f"{name}.weight"] + state[f"{name}.bias"]


def _mlp(name: str, state: State, values: Tensor) -> Tensor:
    return _linear(f"{name}.2", state, _gelu(_linear(f"{name}.0", state, values)))


def _head(name: str, state: State, values: Tensor) -> Tensor:
    hidden = _linear(f"{name}.0", state, values).clamp_min(0)
    return _linear(f"{name}.2", state, hidden).squeeze()


def _linear(name: str, state: State, values: Tensor) -> Tensor:
    mapped = state[f"{name}.weight"] @ values
    return mapped + state[f"{name}.bias"] if f"{name}.bias" in state else mapped


def _silu(values: Tensor) -> Tensor:
    return values / (1 + torch.exp(-values))


def _gelu(values: Tensor) -> Tensor:
    return values * 0.5 * (1 + torch.erf(values / math.sqrt(2)))


def _count(state: State, name: str) -> int:
    return len({key.split(".")[1] for key in state if key.startswith(f"{name}.")})
