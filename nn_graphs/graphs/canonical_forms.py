"""Canonical signs and phases: one of the many networks that compute the same function.

A sine or tanh neuron can be turned round: with the signs of all its weights changed, incoming and
outgoing, and that of its bias, the network computes what it did. Which of the two networks the
training of a zoo ended at is chance, so an encoder has to learn both. Here every neuron is put
where its *slope* is positive: the rate at which it grows with all inputs together, in the network
without biases whose activations are the identity,

    slope(input) = 1,    slope(neuron) = sum over incoming edges of weight * slope(source).

A neuron's sign changes its slope and no other, a permutation moves slopes along, and scales of
relu neurons leave their signs: whatever changes signs, all copies of a network have one canonical
form. Neurons that must be turned together (skips, tied weights) follow the sum of their slopes.

The phase of a sine neuron is a bias that is moved by k pi / omega_0 into half a period around 0.

The rule is ours. An alternative are encoders that are invariant by construction (Kalogeropoulos et
al., NeurIPS 2024). A slope near 0 may change its sign with a small change of the weights, and with
it the form; a neuron that is 0 whatever the input, as of padded channels, stays as it is.
"""

import math
from collections.abc import Collection, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.graph_template import GraphTemplate, NeuralGraphStack
from nn_graphs.graphs.neural_graph import NeuralGraph
from nn_graphs.graphs.parts.node_groups import NeuronKind
from nn_graphs.graphs.symmetry import NeuronRules, SymmetryElement, apply_to_graphs

CanonicalKind = Literal["sign", "phase"]
CANONICAL_KINDS: tuple[CanonicalKind, ...] = ("sign", "phase")


def canonical_graphs(
    graphs: NeuralGraph | NeuralGraphStack,
    *,
    kinds: Collection[CanonicalKind] = CANONICAL_KINDS,
) -> NeuralGraphStack:
    """Networks that compute the same, with canonical signs and phases; see the module.

    Raises:
        NNGraphsError: a kind is unknown; the graphs are a torch-geometric batch.
    """
    if not isinstance(graphs, NeuralGraphStack):
        raise NNGraphsError(
            "bring networks to a canonical form",
            found="they are torch-geometric graphs, which do not tell what can be turned.",
            do="Use a zoo of one architecture, whose batches are stacks, or canonical_params.",
        )
    return apply_to_graphs(graphs.template, graphs, canonical_symmetries(graphs, kinds=kinds))


def canonical_params(
    template: GraphTemplate,
    params: Float[Tensor, "N num_params"],
    *,
    kinds: Collection[CanonicalKind] = CANONICAL_KINDS,
) -> Float[Tensor, "N num_params"]:
    """`canonical_graphs` of parameter vectors.

    Raises:
        NNGraphsError: a kind is unknown.
    """
    return canonical_graphs(template.stack(params), kinds=kinds).params


@torch.no_grad()
def canonical_symmetries(
    graphs: NeuralGraphStack, *, kinds: Collection[CanonicalKind] = CANONICAL_KINDS
) -> SymmetryElement:
    """The symmetries that bring networks to canonical signs and phases; no neuron is permuted.

    Raises:
        NNGraphsError: a kind is unknown.
    """
    _check_kinds(kinds)
    template, biases = graphs.template, graphs.node_features.squeeze(-1)
    rules = template.neuron_rules
    half_turns, turn = torch.zeros_like(biases), torch.ones_like(biases)
    if "phase" in kinds:
        half_turns = _half_turns(biases, rules)
        turn = 1 - 2 * half_turns.remainder(2)
    factor = torch.ones_like(biases)
    if "sign" in kinds:
        factor = _signs(template, _slopes(graphs, turn), rules.allowed_kinds)
    shift = factor * half_turns * (math.pi / rules.omega_0).to(biases)
    order = torch.arange(template.num_nodes, device=biases.device).expand(len(graphs), -1)
    return SymmetryElement(order, factor, shift, turn)


def _check_kinds(kinds: Collection[str]) -> None:
    unknown = sorted(set(kinds) - set(CANONICAL_KINDS))
    if unknown:
        raise NNGraphsError(
            "bring networks to a canonical form",
            found=f"the kinds {', '.join(unknown)} are unknown.",
            do=f"Choose from {', '.join(CANONICAL_KINDS)}.",
        )


def _half_turns(
    biases: Float[Tensor, "N num_nodes"], rules: NeuronRules
) -> Float[Tensor, "N num_nodes"]:
    """By how many half periods a bias moves; an even number where half ones are not allowed."""
    step = torch.where(rules.allows_odd_turns, 1.0, 2.0).to(biases)
    half_periods = biases * (rules.omega_0 / math.pi).to(biases)
    turns = -step * (half_periods / step).round()
    return torch.where(rules.allows_turns.to(biases.device), turns, 0.0)


def _slopes(
    graphs: NeuralGraphStack, turn: Float[Tensor, "N num_nodes"]
) -> list[Float[Tensor, "N _"]]:
    """The slope of every neuron, group by group, after the phases but before the signs."""
    template = graphs.template
    edges = graphs.edge_features.squeeze(-1)
    slopes: list[Tensor] = []
    passed: list[Tensor] = []  # what the turned outputs of a group add to the slopes behind it
    for number, group in enumerate(template.groups):
        slope = turn.new_full((len(turn), group.width), float(group.kind is NeuronKind.INPUT))
        for block in graphs.topology.blocks_into(number):
            weights = edges[:, block.start : block.stop]
            sources = passed[block.source][:, : block.num_sources]
            if block.is_dense:
                matrices = weights.unflatten(1, (block.num_targets, block.num_sources))
                added = (matrices @ sources.unsqueeze(-1)).squeeze(-1)
            else:
                added = weights * sources
            slope = slope + F.pad(added, (0, group.width - block.num_targets))
        slopes.append(slope)
        passed.append(slope * turn[:, group.start : group.stop])
    return slopes


def _signs(
    template: GraphTemplate,
    slopes: Sequence[Float[Tensor, "N _"]],
    allowed_kinds: Sequence[set[str]],
) -> Float[Tensor, "N num_nodes"]:
    """The sign of each neuron's slope, or of the sum over those that are turned together."""
    totals: dict[int, Tensor] = {}
    places: list[tuple[int | None, Tensor]] = []
    for axis, slope in zip(template.symmetries.axes, slopes, strict=True):
        parts = slope.split([segment.length for segment in axis], dim=1)
        for segment, part in zip(axis, parts, strict=True):
            number = segment.permutation
            places.append((number, part))
            if number is not None:
                totals[number] = totals.get(number, 0.0) + part
    signs = [
        torch.where(totals[number] < 0, -1.0, 1.0).to(part)
        if number is not None and "sign" in allowed_kinds[number]
        else torch.ones_like(part)
        for number, part in places
    ]
    return torch.cat(signs, dim=1)
