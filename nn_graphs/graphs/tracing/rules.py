"""All operations that `trace` knows: `(tracer, node) -> number of the value` for each."""

import operator
from collections.abc import Callable

import torch

from nn_graphs.graphs.tracing.elementwise import MASKS, element_by_element
from nn_graphs.graphs.tracing.embeddings import EMBEDDINGS
from nn_graphs.graphs.tracing.layers import LAYERS
from nn_graphs.graphs.tracing.moving import MOVES, item_of_parts, joined, keeping, moving, wrapped
from nn_graphs.graphs.tracing.places import JOINS, PLACES, SHAPES
from nn_graphs.graphs.tracing.pointwise import ACTIVATIONS, ARITHMETIC, GATES, IDENTITIES
from nn_graphs.graphs.tracing.products import PRODUCTS
from nn_graphs.graphs.tracing.recurrent import RECURRENT
from nn_graphs.graphs.tracing.tracer import Rule

aten = torch.ops.aten
SUMS = (aten.add.Tensor, aten.sub.Tensor)
FACTORS = (aten.mul.Tensor, aten.div.Tensor)

RULES: dict[Callable, Rule] = (
    LAYERS
    | GATES
    | wrapped(ACTIVATIONS | ARITHMETIC | IDENTITIES, keeping)
    | {target: element_by_element(ARITHMETIC[target], is_product=False) for target in SUMS}
    | {target: element_by_element(ARITHMETIC[target], is_product=True) for target in FACTORS}
    | PLACES
    | wrapped(SHAPES, moving)
    | wrapped(JOINS, joined)
    | {operator.getitem: item_of_parts(PLACES[operator.getitem])}
    | MOVES
    | PRODUCTS
    | MASKS
    | EMBEDDINGS
    | RECURRENT
)
