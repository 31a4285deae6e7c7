"""A small stack with batch norm and dropout, its plain twin, and data for both."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.model import Mode, batch_norm, linear
from nn_graphs.networks.classifiers.train_stack import Checkpoint, Plan, Recipe, train_classifiers
from nn_graphs.networks.parameters import ParameterLayout

NUM_INPUTS, WIDTH, NUM_CLASSES = 5, 7, 3


def make_module(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(NUM_INPUTS, WIDTH, bias=False),
            nn.BatchNorm1d(WIDTH),
            nn.ReLU(),
            nn.Linear(WIDTH, NUM_CLASSES),
        ).double()


PARAMETERS = ParameterLayout.from_shapes(
    {name: tuple(value.shape) for name, value in make_module().named_parameters()}
)


@dataclass(frozen=True)
class SmallStack:
    """The stacked function of `make_module`, with dropout before the last layer."""

    def __call__(self, params, buffers, inputs, mode: Mode):
        weights = PARAMETERS.unflatten(params)
        values, mean, variance = batch_norm(
            linear(inputs.mT, weights["0.weight"]),
            weights["1.weight"],
            weights["1.bias"],
            buffers[:, :WIDTH],
            buffers[:, WIDTH:],
            is_training=mode.is_training,
        )
        values = mode.drop(values.relu().mT, 0).mT
        logits = linear(values, weights["3.weight"]) + weights["3.bias"].unsqueeze(2)
        return logits.mT, torch.cat([mean, variance], 1)


def parameters_of(module: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in module.parameters()])


def buffers_of(module: nn.Module) -> torch.Tensor:
    return torch.cat([module[1].running_mean, module[1].running_var])


def make_stack(num_networks: int) -> tuple[torch.Tensor, torch.Tensor]:
    modules = [make_module(seed) for seed in range(num_networks)]
    return torch.stack([*map(parameters_of, modules)]), torch.stack([*map(buffers_of, modules)])


def make_data(num_train: int = 40, num_test: int = 12) -> LabelledData:
    generator = torch.Generator().manual_seed(0)
    number = num_train + num_test
    labels = torch.randint(NUM_CLASSES, (number,), generator=generator)
    noise = torch.randn(number, NUM_INPUTS, generator=generator, dtype=torch.float64)
    inputs = noise + F.one_hot(labels, NUM_INPUTS)
    zero, two = torch.zeros(1, dtype=torch.float64), torch.full((1,), 2.0, dtype=torch.float64)
    return LabelledData(inputs, labels, num_train, zero, two)


def train(
    recipes: list[Recipe], *, plan: Plan | None = None, data: LabelledData | None = None, **options
) -> list[Checkpoint]:
    plan = plan or Plan(num_epochs=4, batch_size=8, is_compiled=False)
    params, buffers = make_stack(len(recipes))
    return train_classifiers(
        SmallStack(), params, buffers, data or make_data(), recipes, plan, **options
    )
