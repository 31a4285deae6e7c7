"""Initial values of a stack of networks, drawn by keys: a network's own, whoever is beside it.

Two conventions: that of torch's layers, and the five initializers of Keras that the Small CNN Zoo
is made with (Unterthiner et al., 2020), under the names that they have there.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.errors import check_known
from nn_graphs.networks.classifiers.draws import NUM_BITS, joined, uniforms
from nn_graphs.networks.parameters import ParameterSlot
from nn_graphs.networks.spec import NetworkSpec

KERAS_INITIALIZERS = (
    "he_normal",
    "orthogonal",
    "glorot_normal",
    "RandomNormal",
    "TruncatedNormal",
)
TRUNCATION = 2.0  # Keras cuts normal distributions at two standard deviations
CUT_STD = 0.87962566103423978  # what is then left of the deviation


def torch_initial_params(
    spec: NetworkSpec, keys: Int32[Tensor, "S"]
) -> Float[Tensor, "S num_params"]:
    """As `nn.Conv2d` and `nn.Linear` begin: weights and biases uniform within 1 / sqrt(fan_in)."""
    layout, tensors, bound = spec.parameters, [], 1.0
    for number, slot in enumerate(layout.slots):
        if _is_weight(slot):
            bound = 1 / math.sqrt(_fans(slot.shape)[0])  # of the bias that follows, too
        draws = _open_uniforms(joined(keys, number), slot.shape)
        tensors.append(((2 * draws - 1) * bound).flatten(1))
    return torch.cat(tensors, 1).float()


def keras_initial_params(
    spec: NetworkSpec,
    initializers: Sequence[str],
    stds: Float[Tensor, "S"],
    keys: Int32[Tensor, "S"],
) -> Float[Tensor, "S num_params"]:
    """Weights by each network's initializer, biases zero.

    Args:
        spec: the architecture.
        initializers: one of `KERAS_INITIALIZERS` per network.
        stds: of RandomNormal and TruncatedNormal, the latter's before it is cut; others don't use
            theirs.
        keys: one per network.

    Raises:
        NNGraphsError: an initializer is unknown.
    """
    for name in set(initializers):
        check_known(name, KERAS_INITIALIZERS, asked=f"initialise networks by {name!r}")
    layout = spec.parameters
    params = torch.zeros(len(keys), layout.num_params)
    for name in set(initializers):
        rows = torch.tensor([found == name for found in initializers]).nonzero()[:, 0]
        for number, slot in enumerate(layout.slots):
            if _is_weight(slot):
                values = _keras_weights(name, slot.shape, stds[rows], joined(keys[rows], number))
                params[rows, slot.offset : slot.offset + slot.size] = values.flatten(1).float()
    return params


def _keras_weights(
    name: str, shape: tuple[int, ...], stds: Float[Tensor, "R"], keys: Int32[Tensor, "R"]
) -> Float[Tensor, "R ..."]:
    """Weights `[R, *shape]` of one layer of `R` networks."""
    fan_in, fan_out = _fans(shape)
    column = stds.double().reshape(-1, *[1] * len(shape))
    if name == "RandomNormal":
        return column * _normals(keys, shape)
    if name == "TruncatedNormal":
        return column * _normals(keys, shape, cut=TRUNCATION)
    if name == "he_normal":
        return math.sqrt(2 / fan_in) / CUT_STD * _normals(keys, shape, cut=TRUNCATION)
    if name == "glorot_normal":
        return math.sqrt(2 / (fan_in + fan_out)) / CUT_STD * _normals(keys, shape, cut=TRUNCATION)
    return _orthogonal(_normals(keys, (shape[0], math.prod(shape[1:])))).reshape(-1, *shape)


def _orthogonal(normals: Float[Tensor, "R rows columns"]) -> Float[Tensor, "R rows columns"]:
    """Matrices with orthonormal rows or columns, evenly distributed (Saxe et al., ICLR 2014)."""
    is_wide = normals.shape[1] < normals.shape[2]
    q, r = torch.linalg.qr(normals.mT if is_wide else normals)
    q = q * r.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)
    return q.mT if is_wide else q


def _normals(
    keys: Int32[Tensor, "R"], shape: tuple[int, ...], *, cut: float = math.inf
) -> Float[Tensor, "R ..."]:
    """Standard normal numbers `[R, *shape]`, none beyond `cut`, by the inverse distribution."""
    share = math.erf(cut / math.sqrt(2))
    return math.sqrt(2) * torch.erfinv(share * (2 * _open_uniforms(keys, shape) - 1))


def _open_uniforms(keys: Int32[Tensor, "R"], shape: tuple[int, ...]) -> Float[Tensor, "R ..."]:
    """Numbers between 0 and 1 in float64, neither of them included."""
    return uniforms(keys, shape).double() + 2.0 ** -(NUM_BITS + 1)


def _is_weight(slot: ParameterSlot) -> bool:
    return slot.name.endswith("weight")


def _fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Numbers of values that a neuron reads, and by which one is read, of `[out, in, *kernel]`."""
    places = math.prod(shape[2:])
    return shape[1] * places, shape[0] * places
