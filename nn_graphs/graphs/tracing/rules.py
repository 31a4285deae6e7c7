"""All operations that `trace` knows: `(tracer, node) -> number of the value` for each."""

from collections.abc import Callable

from nn_graphs.graphs.tracing.layers import LAYERS
from nn_graphs.graphs.tracing.places import PLACES
from nn_graphs.graphs.tracing.pointwise import ACTIVATIONS, ARITHMETIC, IDENTITIES
from nn_graphs.graphs.tracing.tracer import Rule

RULES: dict[Callable, Rule] = LAYERS | ACTIVATIONS | ARITHMETIC | PLACES | IDENTITIES
