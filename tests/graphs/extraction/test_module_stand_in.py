"""What is traced in a module's place computes the same, on the same tensors."""

import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from nn_graphs.graphs.extraction import extract_graph, run_graph
from nn_graphs.graphs.extraction.module_stand_in import stand_in
from nn_graphs.networks.masked import MaskedConv2d


def assert_same(module: nn.Module, inputs: torch.Tensor) -> nn.Module:
    other = stand_in(module)
    module.eval()
    with torch.no_grad():
        torch.testing.assert_close(other(inputs), module(inputs))
        found = run_graph(extract_graph(module, inputs), inputs)[0]
        torch.testing.assert_close(
            torch.from_numpy(found), module(inputs).double(), atol=1e-5, rtol=1e-5
        )
    return other


def test_tensors_are_shared_and_tied_ones_stay_so():
    module = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
    module[2].weight = module[0].weight
    other = assert_same(module, torch.randn(2, 3))
    assert other[0].weight is module[0].weight
    assert other[2].weight is other[0].weight
    assert other is not module
    assert not other.training


def test_a_module_that_stands_twice_does_so():
    layer = nn.Linear(3, 3)
    other = stand_in(nn.Sequential(layer, nn.ReLU(), layer))
    assert other[0] is other[2]


def test_parametrizations_are_multiplied_out_and_stay_on_the_module():
    module = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 3)), nn.ReLU()).train()
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    stand_in(module)
    extract_graph(module, torch.zeros(1, 4))
    for name, value in module.named_buffers():
        assert torch.equal(value, buffers[name])
    assert nn.utils.parametrize.is_parametrized(module[0])
    assert_same(module, torch.randn(2, 4))


def test_pruned_weights_are_zero():
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2))
    prune.random_unstructured(module[0], "weight", amount=0.5)
    prune.ln_structured(module[2], "weight", amount=1, n=2, dim=0)
    other = assert_same(module, torch.randn(2, 1, 4, 4))
    assert {name for name, _ in other.named_parameters()} == {
        *("0.weight", "0.bias", "2.weight", "2.bias")
    }
    assert prune.is_pruned(module)


def test_masked_layers_are_plain_ones():
    mask = torch.rand(3, 2, generator=torch.Generator().manual_seed(0)) < 0.5
    module = nn.Sequential(MaskedConv2d(2, 3, 3, mask=mask), nn.ReLU())
    other = assert_same(module, torch.randn(2, 2, 5, 5))
    assert type(other[0]) is nn.Conv2d
    assert type(module[0]) is MaskedConv2d


def test_hooks_that_change_values_are_part_of_what_is_computed():
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    module[0].register_forward_hook(lambda layer, inputs, outputs: 2 * outputs)
    assert_same(module, torch.randn(2, 3))
