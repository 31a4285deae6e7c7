"""Symmetry as data: which changes of the parameters leave the function of a network as it is.

The neurons of every group lie on an axis, a sequence of segments; each segment is moved by one
permutation, which segments of several groups may share (an additive skip ties the neurons that it
adds). Where neurons are bound to blocks (groups of a convolution or a norm) segments nest: one
permutation moves the blocks, others the neurons in each. With a permutation go, where all the
activations on it allow it,

- a sign per neuron (odd activations: sine, tanh, none),
- a positive scale per neuron (positively homogeneous ones: relu, leaky_relu, none),
- a phase per neuron (sine with a bias): the bias moves by k pi / omega_0, which turns the neuron's
  output into (-1)^k times itself.

Incoming weights and the bias of a neuron take its factor, outgoing weights the inverse of it
(Hecht-Nielsen, 1990; Godfrey et al., NeurIPS 2022; Kalogeropoulos et al., NeurIPS 2024). Next to
norms and gates only permutations are offered.

Where things are:

- The record itself, and which signs, scales and phases go with it, is a part of a template
  (`parts/symmetries.py`).
- `finding` reads off groups and blocks which neurons move together, also in attention; `axis_ties`
  makes of all these pairs the segments, by means of `neuron_classes`.
- `symmetry_elements` draws symmetries at random, and applies them.
- `permutation_spec` tells them parameter by parameter, as weight matching wants them.
- `symmetry_certificate` counts all directions that change no output, and which are understood.
"""

from nn_graphs.graphs.parts.symmetries import (
    ALL_KINDS,
    NeuronRules,
    Segment,
    Symmetries,
    SymmetryKind,
)
from nn_graphs.graphs.symmetry.symmetry_elements import (
    SymmetryElement,
    apply_symmetries,
    apply_to_graphs,
    sample_symmetries,
)

__all__ = [
    "ALL_KINDS",
    "NeuronRules",
    "Segment",
    "Symmetries",
    "SymmetryElement",
    "SymmetryKind",
    "apply_symmetries",
    "apply_to_graphs",
    "sample_symmetries",
]
