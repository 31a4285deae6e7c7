"""Networks with fewer or more neurons, found and made by means of their graphs.

- `neuron_removal`: the functions for users; remove, merge, widen, and without redundant neurons.
- `neuron_items`: which neurons are cut together, read off the symmetries.
- `constant_neurons`, `dead_neurons`, `duplicate_neurons`: what a network can do without.
- `resized_module`, with `layer_sizes`: the new module.
"""

from nn_graphs.graphs.removal.neuron_removal import (
    Shrunk,
    merge_neurons,
    remove_neurons,
    remove_redundant_neurons,
    widen_neurons,
)

__all__ = [
    "Shrunk",
    "merge_neurons",
    "remove_neurons",
    "remove_redundant_neurons",
    "widen_neurons",
]
