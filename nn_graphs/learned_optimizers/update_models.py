"""What models of updates have in common: features of parameters to outputs, by given weights.

The weights are an argument, one row for all networks of a stack or a row for each, so that
evolution strategies may perturb them and back-propagation may reach them.
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.networks.parameters import ParameterLayout


class UpdateFunction(ABC):
    """A model of given sizes.

    Attributes:
        num_weights: length of its flat vector of weights.
    """

    num_weights: int

    @abstractmethod
    def initial_weights(self, seed: int) -> Float[Tensor, "M"]:
        """First values, which the seed alone decides."""

    @abstractmethod
    def __call__(
        self,
        weights: Float[Tensor, "R M"],
        optimizee: Optimizee,
        features: Float[Tensor, "S P features"],
    ) -> Float[Tensor, "S P outputs"]:
        """Outputs for every parameter.

        Args:
            weights: of all networks (one row), or of each.
            optimizee: what is known of the networks.
            features: of their parameters.
        """


class UpdateModel(ABC):
    """The settings of a model; frozen dataclasses, which files describe.

    Attributes:
        is_local: whether what a parameter gets depends on its tensor alone.
    """

    is_local: bool

    @abstractmethod
    def make(self, num_features: int, num_outputs: int) -> UpdateFunction:
        """The model for so many features and outputs."""


class ModuleFunction(UpdateFunction):
    """A torch module `(optimizee, features) -> outputs`, by given weights.

    Args:
        make_module: makes it, with first values from torch's own generator.
    """

    def __init__(self, make_module):
        self._make_module = make_module
        self._module = self._made(0).requires_grad_(False)
        shapes = {name: tuple(value.shape) for name, value in self._module.named_parameters()}
        self._layout = ParameterLayout.from_shapes(shapes)
        self.num_weights = self._layout.num_params

    def initial_weights(self, seed: int) -> Float[Tensor, "M"]:
        return torch.cat([value.detach().flatten() for value in self._made(seed).parameters()])

    def __call__(
        self,
        weights: Float[Tensor, "R M"],
        optimizee: Optimizee,
        features: Float[Tensor, "S P features"],
    ) -> Float[Tensor, "S P outputs"]:
        parts = features.split(len(features) // len(weights))
        outputs = [
            torch.func.functional_call(
                self._module, self._layout.unflatten(own), (optimizee, part), strict=False
            )
            for own, part in zip(weights, parts, strict=True)
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)

    def _made(self, seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return self._make_module()
