"""Signs, scales and phases are offered where the activations allow them, and nowhere else."""

import pytest
import torch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.symmetry import ALL_KINDS, apply_symmetries
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.activations import ACTIVATIONS, Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import ARCHITECTURES
from tests.graphs.symmetry.drawn import NUM_NETWORKS, SINE, rand, sample

ALLOWED = {
    "none": {"permutation", "sign", "scale"},
    "relu": {"permutation", "scale"},
    "leaky_relu": {"permutation", "scale"},
    "sine": {"permutation", "sign", "phase"},
    "tanh": {"permutation", "sign"},
    "gelu": {"permutation"},
    "gelu_tanh": {"permutation"},
    "silu": {"permutation"},
    "sigmoid": {"permutation"},
    "relu6": {"permutation"},
    "elu": {"permutation"},
    "selu": {"permutation"},
    "hardswish": {"permutation"},
    "hardsigmoid": {"permutation"},
    "hardtanh": {"permutation", "sign"},
    "mish": {"permutation"},
    "softplus": {"permutation"},
}


def changes(spec: NetworkSpec, kinds: tuple[str, ...]) -> bool:
    template = template_from_spec(spec)
    params = rand(NUM_NETWORKS, spec.num_params)
    return not torch.equal(apply_symmetries(template, params, sample(template, kinds)), params)


def test_every_activation_is_listed():
    assert set(ALLOWED) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ALLOWED)
def test_kinds_change_the_parameters_where_the_activation_allows_them(name):
    spec = NetworkSpec.mlp((2, 5, 4, 1), activation=Activation(name))
    assert {kind for kind in ALL_KINDS if changes(spec, (kind,))} == ALLOWED[name]
    assert changes(spec, ALL_KINDS)
    assert not changes(spec, ())


def test_an_offset_leaves_permutations_and_whole_turns():
    spec = NetworkSpec(2, (LayerSpec(4, SINE, offset=0.5), LayerSpec(1)))
    assert {kind for kind in ALL_KINDS if changes(spec, (kind,))} == {"permutation", "phase"}
    assert (sample(template_from_spec(spec)).turn == 1).all()


def test_without_a_bias_there_is_no_phase():
    spec = NetworkSpec(2, (LayerSpec(4, SINE, has_bias=False), LayerSpec(1)))
    assert {kind for kind in ALL_KINDS if changes(spec, (kind,))} == {"permutation", "sign"}
    template = template_from_spec(spec)
    assert (sample(template).shift == 0).all()


def test_tied_biases_have_no_phase():
    architecture = ARCHITECTURES["tied and summed"]
    template = trace(architecture.module(), architecture.example())
    assert (sample(template).shift == 0).all()
