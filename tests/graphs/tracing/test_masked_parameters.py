"""Parameters times a mask: shown as they are, and symmetries leave the mask where it is."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune as torch_prune

from nn_graphs.graphs.builder import without_fixed_neurons
from nn_graphs.graphs.tracing import trace
from nn_graphs.networks.masked import MaskedConv1d, MaskedConv2d, MaskedConv3d, MaskedLinear
from nn_graphs.networks.pruning import Density, prunable_names, prune, pruning_masks
from nn_graphs.networks.pruning.attached_masks import original_weights
from tests.graphs.tracing.faithful import Written, assert_faithful

pytestmark = pytest.mark.usefixtures("one_thread")


def blocks(rows: list[int], columns: list[int]) -> torch.Tensor:
    """A mask that joins neurons of the same block number."""
    return torch.tensor(rows)[:, None] == torch.tensor(columns)


def test_neurons_are_alike_where_masks_treat_them_alike():
    first = MaskedLinear(4, 6, mask=blocks([0, 0, 0, 1, 1, 1], [0, 0, 1, 1]))
    network = nn.Sequential(first, nn.Tanh(), nn.Linear(6, 2))
    template = assert_faithful(network, torch.randn(2, 4))
    assert template.symmetries.sizes == (3, 3)
    second = MaskedLinear(6, 2, mask=blocks([0, 1], [0, 1, 1, 1, 1, 1]))
    template = assert_faithful(nn.Sequential(first, nn.Tanh(), second), torch.randn(2, 4))
    assert template.symmetries.sizes == (1, 2, 3)
    assert [mask.shape for mask in template.masks.values()] == [(6, 4), (2, 6)]


def test_masks_of_any_kind_leave_nothing_that_changes_the_function():
    for seed in range(10):
        torch.manual_seed(seed)
        masks = torch.rand(5, 4) < 0.6, torch.rand(5, 5) < 0.6, torch.rand(2, 5) < 0.6
        layers = [MaskedLinear(m.shape[1], m.shape[0], mask=m) for m in masks]
        network = nn.Sequential(layers[0], nn.Tanh(), layers[1], nn.Tanh(), layers[2])
        assert_faithful(network, torch.randn(2, 4), seed=seed)


def test_masks_are_kept_where_inputs_may_move_too():
    network = nn.Sequential(MaskedLinear(4, 2, mask=blocks([0, 1], [0, 0, 1, 1])))
    template = trace(network, torch.zeros(1, 4))
    assert without_fixed_neurons(template).symmetries.sizes == (2, 2, 1, 1)
    plain = trace(nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 4))
    assert without_fixed_neurons(plain).symmetries.sizes == (4, 2)


def test_convolutions_with_masks_of_channels_and_of_kernels():
    channels = MaskedConv2d(2, 6, 3, mask=blocks([0, 0, 0, 1, 1, 1], [0, 1]))
    kernels = torch.ones(4, 6, 3, 3).bool()
    kernels[2:, :, 0, 0] = False
    network = nn.Sequential(
        channels, nn.Tanh(), MaskedConv2d(6, 4, 3, mask=kernels), nn.Tanh(), nn.Conv2d(4, 2, 1)
    )
    template = assert_faithful(network, torch.randn(1, 2, 7, 7))
    assert template.symmetries.sizes == (3, 3, 2, 2)


@pytest.mark.parametrize(("kind", "places"), [(MaskedConv1d, (7,)), (MaskedConv3d, (4, 4, 4))])
def test_convolutions_of_other_axes(kind, places):
    mask = blocks([0, 0, 0, 1, 1, 1], [0, 1])
    module = nn.Sequential(kind(2, 6, 3, padding=1, mask=mask), nn.Tanh(), kind(6, 2, 1))
    template = assert_faithful(module, torch.randn(2, 2, *places))
    assert template.symmetries.sizes == (3, 3)


def test_masks_behind_flattened_places_and_joined_layers():
    torch.manual_seed(0)
    mask = torch.ones(5, 3 * 4).bool()
    mask[:, 5] = False  # of the second channel, at its second place
    network = nn.Sequential(
        nn.Conv2d(1, 3, 2), nn.Tanh(), nn.Flatten(), MaskedLinear(12, 5, mask=mask)
    )
    template = assert_faithful(network, torch.randn(1, 1, 3, 3))
    assert 3 not in template.symmetries.sizes

    def skipping(self, x):
        hidden = self.a(x).tanh()
        return self.c(self.b(torch.cat([x, hidden], 1)).tanh())

    joined = blocks([0, 0, 0, 1], [0, 1, 0, 0, 1])
    module = Written(
        skipping, a=nn.Linear(2, 3), b=MaskedLinear(5, 4, mask=joined), c=nn.Linear(4, 2)
    )
    template = assert_faithful(module, torch.randn(2, 2))
    assert sorted(template.symmetries.sizes) == [1, 1, 2, 3]


def test_masks_that_others_write_by_hand():
    def forward(self, x):
        return F.linear(F.linear(x, self.mask * self.one.weight).tanh(), self.two.weight)

    module = Written(
        forward, one=nn.Linear(3, 4), two=nn.Linear(4, 2), mask=torch.ones(4, 3).bool()
    )
    module.mask[0, 0] = False
    with torch.no_grad():
        module.one.weight[0, 0] = 0
    template = trace(module, torch.zeros(1, 3))
    assert template.symmetries.sizes == (1, 3)


def pruned_by_torch() -> nn.Sequential:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    for layer in (module[0], module[3]):
        torch_prune.random_unstructured(layer, "weight", amount=0.4)
        with torch.no_grad():
            layer.weight_orig.mul_(layer.weight_mask)
    return module


def test_masks_of_numbers_as_torch_prunes():
    template = assert_faithful(pruned_by_torch(), torch.randn(2, 1, 4, 4))
    names = {slot.name: mask for slot, mask in template.masks.items()}
    assert set(names) == {"0.weight_orig", "3.weight_orig"}
    assert {name: int(mask.sum()) for name, mask in names.items()} == {
        "0.weight_orig": 36 - 14,
        "3.weight_orig": 32 - 13,
    }


def test_masks_of_our_pruning():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    prune(module, Density(0.5))
    with torch.no_grad():
        for name, weight in original_weights(module, prunable_names(module)).items():
            weight.mul_(pruning_masks(module)[name])
    template = assert_faithful(module, torch.randn(2, 4))
    assert sum(int(mask.sum()) for mask in template.masks.values()) == 18


def test_hidden_values_of_torch_are_told(raises_saying):
    module = pruned_by_torch()
    with torch.no_grad():
        module[0].weight_orig.fill_(1)
    with raises_saying(asked="neural graph", found="hides are not zero: set them to zero", do=""):
        trace(module, torch.zeros(1, 1, 4, 4))


def test_factors_that_are_no_mask_are_told(raises_saying):
    def forward(self, x):
        return F.linear(x, self.one.weight * self.factors)

    module = Written(forward, one=nn.Linear(2, 2), factors=torch.tensor([[0.0, 1.0], [1.0, 2.0]]))
    with raises_saying(asked="neural graph", found="", do=""):
        trace(module, torch.zeros(1, 2))


def test_hidden_values_that_are_not_zero(raises_saying):
    layer = MaskedLinear(3, 2, mask=torch.zeros(2, 3).bool())
    with torch.no_grad():
        layer.weight.fill_(1)
    with raises_saying(asked="neural graph", found="hides are not zero: set them to zero", do=""):
        trace(nn.Sequential(layer), torch.zeros(1, 3))


def test_one_parameter_with_two_masks(raises_saying):
    def forward(self, x):
        return F.linear(F.linear(x, self.w * self.a), self.w * self.b)

    masks = {"a": torch.tensor([[True, False]] * 2), "b": torch.tensor([[False, True]] * 2)}
    module = Written(forward, w=nn.Parameter(torch.zeros(2, 2)), **masks)
    with raises_saying(asked="neural graph", found="w is used with several masks", do=""):
        trace(module, torch.zeros(1, 2))
