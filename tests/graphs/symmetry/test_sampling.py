"""Random symmetries: reproducible, independent, in the range that was asked for."""

import math

import torch

from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.graphs.symmetry import sample_symmetries
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import LayerSpec, NetworkSpec
from tests.graphs.architectures import SPECS
from tests.graphs.symmetry.drawn import RELU, SINE, sample


def test_sampling_is_reproducible():
    template = template_from_spec(SPECS["INR"])
    first, second = sample(template), sample(template)
    for name, values in vars(first).items():
        assert torch.equal(values, vars(second)[name])


def test_samples_have_the_asked_size_and_precision():
    template = template_from_spec(SPECS["INR"])
    element = sample_symmetries(template, 3, generator=torch.Generator().manual_seed(0))
    for values in vars(element).values():
        assert values.shape == (3, template.num_nodes)
    assert element.factor.dtype == element.shift.dtype == element.turn.dtype == torch.float32
    assert sample(template).shift.dtype == torch.float64


def test_scales_and_turns_stay_in_their_range():
    relu = template_from_spec(NetworkSpec.mlp((2, 50, 1), activation=RELU))
    generator = torch.Generator().manual_seed(0)
    factor = sample_symmetries(relu, 20, max_log_scale=0.5, generator=generator).factor
    assert factor.log().abs().max() <= 0.5 + 1e-6
    assert factor.log().abs().max() > 0.49
    for offset, expected in ((0.0, {-3, -2, -1, 0, 1, 2, 3}), (0.5, {-2, 0, 2})):
        spec = NetworkSpec(2, (LayerSpec(50, SINE, offset=offset), LayerSpec(1)))
        element = sample_symmetries(
            template_from_spec(spec), 20, max_turns=3, generator=generator, dtype=torch.float64
        )
        turns = (element.shift * 30.0 / math.pi).round().int()
        assert set(turns.unique().tolist()) == expected


def test_shifts_are_exact_in_double_precision():
    template = template_from_spec(NetworkSpec.mlp((1, 8, 1), activation=Activation("sine", 0.1)))
    shift = sample(template).shift
    turns = (shift * 0.1 / math.pi).round()
    assert turns.abs().max() > 0
    torch.testing.assert_close(shift, turns * math.pi / 0.1, rtol=1e-15, atol=0)


def test_unknown_kinds_are_refused(raises_saying):
    with raises_saying(
        asked="sample symmetries of the kinds rotation, sign",
        found="rotation is unknown",
        do="Choose from permutation, sign, scale, phase",
    ):
        sample_symmetries(template_from_spec(SPECS["INR"]), 1, kinds=("sign", "rotation"))


def test_one_network_s_symmetry_is_independent_of_the_other_s():
    element = sample(template_from_spec(SPECS["INR"]))
    for values in (element.order, element.factor, element.shift):
        assert len({tuple(row) for row in values.tolist()}) > 1
