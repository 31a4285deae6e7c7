"""How NG-GNN and NG-T, with their heads, are held against the plain twins of `reference.py`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nn_graphs.encoders.heads import GraphModel
from nn_graphs.encoders.statistics import GraphDims
from nn_graphs.graphs.graph_template import NeuralGraphStack
from tests.encoders import reference
from tests.encoders.cases import (
    as_reference,
    classifier,
    editor,
    fill_by_formula,
    formula,
    inr,
    reference_state,
)

TEMPLATE = inr(2, 4, 3, 2)
DIMS = GraphDims.of([TEMPLATE])
Encoded = tuple[list[Tensor], dict[tuple[int, int], Tensor]]  # of one network: neurons, edges


def assert_equal(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def num_parameters(*modules: nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def assert_heads_equal(
    classes: GraphModel, edits: GraphModel, stack: NeuralGraphStack, twin: Sequence[Encoded]
) -> None:
    """Both heads say of each network what they say of the twin's neurons and edges."""
    logits, edited = classes(stack), edits(stack).params
    for number, (nodes, edges) in enumerate(twin):
        network = as_reference(TEMPLATE, stack.params[number])
        head = reference_state(classes.head)
        assert_equal(logits[number], reference.class_logits(network, head, nodes))
        head = reference_state(edits.head)
        weights, biases = reference.new_parameters(network, head, nodes, edges)
        found = as_reference(TEMPLATE, edited[number])
        for one, other in zip(found.weights + found.biases, weights + biases, strict=True):
            assert_equal(one, other)


def assert_golden(
    encoder: nn.Module,
    encode: Callable[[reference.Network, reference.State], Encoded],
    *,
    logits: list[float],
    weights: list[float],
) -> None:
    """Numbers that are kept in the repository, of the encoder and of its twin `encode`.

    Args:
        encoder: gets all its parameters from `cases.formula`.
        encode: the neurons and edges of a network, by the twin.
        logits: of a classifier.
        weights: the first four of an edited network's second layer.
    """
    classes, edits = classifier(encoder, DIMS), editor(encoder, DIMS)
    fill_by_formula(classes)
    fill_by_formula(edits.head)
    encoder.features.weight_std.copy_(torch.tensor([1.0, 0.5, 2.0, 0.7]))
    stack = TEMPLATE.stack(formula((1, TEMPLATE.num_params), 0))
    network = as_reference(TEMPLATE, stack.params[0])
    nodes, edges = encode(network, reference_state(encoder))
    twin_weights, _ = reference.new_parameters(network, reference_state(edits.head), nodes, edges)
    twin_logits = reference.class_logits(network, reference_state(classes.head), nodes)
    for found in (twin_logits, classes(stack)[0]):
        assert_equal(found, torch.tensor(logits, dtype=torch.float64))
    edited = as_reference(TEMPLATE, edits(stack).params[0]).weights[1]
    for found in (twin_weights[1], edited):
        assert_equal(found.flatten()[:4], torch.tensor(weights, dtype=torch.float64))
