"""Initial values against torch's own initializers and their formulas."""

import math

import pytest
import torch
from torch import nn

from nn_graphs.networks.classifiers.data import network_keys
from nn_graphs.networks.classifiers.draws import joined
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.initializers import (
    CUT_STD,
    KERAS_INITIALIZERS,
    keras_initial_params,
    torch_initial_params,
)

SPEC = small_cnn_zoo_spec()
NUM = 400


def keys(number: int = NUM) -> torch.Tensor:
    seeds = network_keys([0] * number, torch.device("cpu"))
    return joined(seeds, torch.arange(number, dtype=torch.int32))


def weights(name: str, std: float = 0.05) -> dict[str, torch.Tensor]:
    params = keras_initial_params(SPEC, [name] * NUM, torch.full((NUM,), std), keys())
    return SPEC.parameters.unflatten(params)


@pytest.mark.parametrize("layer", [0, 1, 3])
def test_deviations_are_those_of_torch(layer):
    name = f"layers.{layer}.weight"
    shape = weights("he_normal")[name].shape[1:]
    fan_in, fan_out = nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    expected = {
        "he_normal": nn.init.calculate_gain("relu") / math.sqrt(fan_in),
        "glorot_normal": math.sqrt(2 / (fan_in + fan_out)),
        "RandomNormal": 0.05,
        "TruncatedNormal": 0.05 * CUT_STD,
    }
    for kind, std in expected.items():
        values = weights(kind)[name]
        assert values.std().item() == pytest.approx(std, rel=0.02)
        assert abs(values.mean().item()) < 0.02 * std
        limit = 2 * std / CUT_STD
        is_cut = values.abs().max().item() <= limit * (1 + 1e-6)
        assert is_cut == (kind != "RandomNormal")


def test_truncated_values_are_distributed_as_torch_draws_them():
    ours = weights("TruncatedNormal")["layers.1.weight"].flatten()
    theirs = nn.init.trunc_normal_(
        torch.empty(len(ours)), std=0.05, a=-0.1, b=0.1, generator=torch.Generator().manual_seed(0)
    )
    levels = torch.linspace(0.05, 0.95, 19)
    torch.testing.assert_close(
        ours[:100_000].quantile(levels), theirs[:100_000].quantile(levels), rtol=0, atol=1e-3
    )


def test_orthogonal_weights():
    found = weights("orthogonal")
    for name, size in (("layers.0.weight", 9), ("layers.1.weight", 16), ("layers.3.weight", 10)):
        matrix = found[name].flatten(2)  # [N, out, in]
        product = matrix.mT @ matrix if matrix.shape[1] > matrix.shape[2] else matrix @ matrix.mT
        torch.testing.assert_close(product, torch.eye(size).expand(NUM, -1, -1), rtol=0, atol=1e-5)
    assert found["layers.1.weight"].mean().abs() < 1e-3  # no sign is preferred
    alone = nn.init.orthogonal_(torch.empty(16, 16, 3, 3))
    assert found["layers.1.weight"].std().item() == pytest.approx(alone.std().item(), rel=0.02)


def test_biases_are_zero():
    for kind in KERAS_INITIALIZERS:
        found = weights(kind)
        assert all(not found[name].any() for name in found if name.endswith("bias"))


def test_torch_layers_begin_alike():
    found = SPEC.parameters.unflatten(torch_initial_params(SPEC, keys()))
    modules = [SPEC.make_module().state_dict() for _ in range(60)]
    for name, values in found.items():
        theirs = torch.stack([state[name] for state in modules])
        assert values.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.05)
        assert values.std().item() == pytest.approx(theirs.std().item(), rel=0.12)


@pytest.mark.parametrize("kind", [*KERAS_INITIALIZERS, "torch"])
def test_a_network_begins_alike_whoever_is_beside_it(kind):
    def make(chosen: list[int]) -> torch.Tensor:
        if kind == "torch":
            return torch_initial_params(SPEC, keys(9)[chosen])
        kinds = [kind, *KERAS_INITIALIZERS][: len(chosen)]
        stds = torch.linspace(0.1, 0.9, 9)[chosen]
        return keras_initial_params(SPEC, kinds, stds, keys(9)[chosen])

    together, alone = make([3, 0, 1, 2, 8]), make([3])
    assert torch.equal(together[:1], alone)
    assert (together[1:] != alone).any(1).all()


def test_unknown_initializer(raises_saying):
    with raises_saying(asked="'xavier'", found="no 'xavier'", do="glorot_normal"):
        keras_initial_params(SPEC, ["xavier"], torch.ones(1), keys(1))
