"""Modules of the library on a device: masked layers, pruning, networks that graphs prescribe."""

import pytest
import torch
from torch import Tensor, nn

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.dag.dag_network import DAGNetwork
from nn_graphs.networks.masked import MaskedConv2d, MaskedLinear
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.pruning import (
    BrainDamage,
    Density,
    DynamicSparsity,
    GradualPruning,
    Grasp,
    LayerwiseSurgeon,
    RandomSaliency,
    Snip,
    SynapticFlow,
    density_curve,
    magnitude,
    prune,
    pruning_masks,
    sparsify,
    spread_magnitude,
)
from nn_graphs.networks.relational.network import RelationalNetwork
from tests.accelerators.both_places import assert_same_there, outputs_and_gradients, there
from tests.networks.dag.structures import random_structure
from tests.networks.pruning.modules import batches, mlp
from tests.networks.relational.cases import small, small_graph

DATA = batches(4, 3, dtype=torch.float64)


def rand(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


MASK = torch.arange(24).reshape(6, 4) % 3 > 0
MODULES = {
    "masked linear": lambda: (MaskedLinear(4, 6, mask=MASK), rand(5, 4)),
    "masked convolution": lambda: (MaskedConv2d(4, 6, 3, mask=MASK), rand(2, 4, 5, 5)),
    "graph of neurons": lambda: (
        DAGNetwork(random_structure(3), in_features=3, out_features=2),
        rand(5, 3),
    ),
    "relational": lambda: (RelationalNetwork(small("mlp"), small_graph()), rand(3, 1, 8, 8)),
}


@pytest.mark.parametrize("name", MODULES)
def test_masked_modules(device, name):
    torch.manual_seed(0)
    module, inputs = MODULES[name]()
    assert_same_there(outputs_and_gradients, device, module.double().eval(), inputs)
    moved = there(module, device)
    for layer in moved.modules():
        if isinstance(layer, MaskedLinear):
            layer.set_mask(torch.zeros_like(layer.mask, device="cpu"))
            assert layer.weight.device == device
            assert layer.density == 0


SALIENCIES = {
    "magnitude": lambda data: magnitude,
    "spread magnitude": lambda data: spread_magnitude,
    "chance": lambda data: RandomSaliency(0),
    "snip": Snip,
    "grasp": Grasp,
    "synaptic flow": lambda data: SynapticFlow(data[0][0][:1]),
    "brain damage": lambda data: BrainDamage(data, num_probes=2),
    "surgeon": lambda data: LayerwiseSurgeon([inputs for inputs, _ in data]),
}


@pytest.mark.parametrize("name", SALIENCIES)
def test_pruning(device, name):
    def pruned(module: nn.Module, data: list) -> list[Tensor]:
        prune(module, Density(0.5), saliency=SALIENCIES[name](data))
        return [*module.state_dict().values(), *pruning_masks(module).values()]

    assert_same_there(pruned, device, mlp(4, 6, 3).double(), DATA)


def test_pruning_while_training(device):
    def trained(module: nn.Module, data: list) -> list[Tensor]:
        sparsify(module, 0.5, names=["0.weight"])
        optimizer = torch.optim.SGD(module.parameters(), 0.1, momentum=0.9)
        options = {"names": ["0.weight"], "last_step": 9, "every": 1, "optimizer": optimizer}
        changes = [
            DynamicSparsity(module, growth=growth, **options) for growth in ("gradient", "random")
        ]
        gradual = GradualPruning(
            module, final=0.2, first_step=1, last_step=3, every=1, names=["2.weight"]
        )
        for step, (inputs, labels) in enumerate(data * 2):

            def loss_of(inputs: Tensor = inputs, labels: Tensor = labels) -> Tensor:
                return nn.functional.cross_entropy(module(inputs), labels)

            for change in changes:
                change.update(step, loss_of)
            gradual(step)
            optimizer.zero_grad()
            loss_of().backward()
            optimizer.step()
        return [*module.state_dict().values()]

    assert_same_there(trained, device, mlp(4, 6, 3).double(), DATA)


@pytest.mark.parametrize("method", ["magnitude", "snip", "rigl"])
def test_networks_of_several_densities(device, method):
    inputs, labels = (torch.cat(parts) for parts in zip(*DATA, strict=True))
    zero, one = torch.zeros(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    plan = Plan(2, 2, is_compiled=False)

    def found(module: nn.Module, *tensors: Tensor) -> list:
        inputs, labels, zero, one = tensors
        data = LabelledData(inputs, labels, 8, zero, one)
        curve = density_curve(
            lambda: there(module, data.device),
            data,
            Recipe(Optimizer("sgd", 0.1)),
            plan,
            method=method,
            densities=(0.5,),
        )
        return [list(result.masks.values()) for result in curve]

    assert_same_there(found, device, mlp(4, 6, 3).double(), inputs, labels, zero, one)
