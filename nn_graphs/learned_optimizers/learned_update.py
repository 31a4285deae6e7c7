"""Updates of stacks of networks: a function of parameters, gradients and what is remembered.

A learned one is made of three parts, each described by its settings: features of every parameter,
a model that reads them, and the form in which its outputs change parameters. Its weights are given
with each call, so that an update is data, and as many of them as there are networks run at once.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.learned_optimizers.optimizee import Optimizee
from nn_graphs.learned_optimizers.tensor_features import State, TensorFeatures
from nn_graphs.learned_optimizers.update_forms import UpdateForm
from nn_graphs.learned_optimizers.update_models import UpdateFunction, UpdateModel


@runtime_checkable
class Update(Protocol):
    """What inner trainings ask of an update, learned or designed by hand.

    Attributes:
        num_weights: length of the vector of its weights, or of its settings.
    """

    num_weights: int

    def start(self, optimizee: Optimizee, params: Float[Tensor, "S P"]) -> State:
        """What is remembered before the first step; every tensor has a row per network."""
        ...

    def step(
        self,
        weights: Float[Tensor, "R M"],
        optimizee: Optimizee,
        params: Float[Tensor, "S P"],
        gradients: Float[Tensor, "S P"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S P"], State]:
        """Parameters of every network after a step, and what is remembered from now on.

        Args:
            weights: one row for all networks, or one for each.
            optimizee: what is known of the networks.
            params, gradients: of the networks.
            state: as it was.
            steps: how many steps each network has made.
        """
        ...

    def judged(
        self, optimizee: Optimizee, params: Float[Tensor, "S P"], state: State
    ) -> Float[Tensor, "S P"]:
        """The parameters by which networks are evaluated: mostly those that they have."""
        ...


@dataclass(frozen=True)
class LearnedUpdate:
    """An update with learned weights, see `Update`.

    Attributes:
        features: what the model is told of every parameter.
        model: what reads it.
        form: what its outputs mean.
    """

    features: TensorFeatures
    model: UpdateModel
    form: UpdateForm

    @cached_property
    def function(self) -> UpdateFunction:
        """The model for these features and this form."""
        return self.model.make(self.features.num_features, self.form.num_outputs)

    @property
    def num_weights(self) -> int:
        return self.function.num_weights + self.form.num_weights

    @property
    def num_states(self) -> int:
        """How many tensors are remembered of each tensor of a network."""
        return self.features.num_states + self.form.num_states

    def initial_weights(self, seed: int) -> Float[Tensor, "M"]:
        """Where learning begins; the seed alone decides."""
        return torch.cat([self.function.initial_weights(seed), self.form.initial_weights()])

    def check_weights(self, weights: Float[Tensor, "..."]) -> None:
        """Raises where weights are those of another update.

        Raises:
            NNGraphsError: there are more, or fewer.
        """
        if weights.shape[-1] != self.num_weights:
            raise NNGraphsError(
                f"update networks by {self.num_weights} learned weights",
                found=f"{weights.shape[-1]} are given.",
                do="Give those of this update: same features, model and form.",
            )

    def start(self, optimizee: Optimizee, params: Float[Tensor, "S P"]) -> State:
        return tuple(
            tensor
            for _, values in optimizee.tensors(params)
            for tensor in (*self.features.start(values), *self.form.start(values))
        )

    def step(
        self,
        weights: Float[Tensor, "R M"],
        optimizee: Optimizee,
        params: Float[Tensor, "S P"],
        gradients: Float[Tensor, "S P"],
        state: State,
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S P"], State]:
        self.check_weights(weights)
        of_model, of_form = weights.split([self.function.num_weights, self.form.num_weights], 1)
        parts = list(zip(optimizee.tensors(params), optimizee.tensors(gradients), strict=True))
        states = [state[at : at + self.num_states] for at in range(0, len(state), self.num_states)]
        told, remembered, split = [], [], self.features.num_states
        for ((_, values), (_, own)), before in zip(parts, states, strict=True):
            features, after = self.features.step(values, own, before[:split], steps)
            told.append(features)
            remembered.append(after)
        outputs = self.function(of_model, optimizee, torch.cat(told, 1))
        changes, after_all = [], []
        for ((slot, _), (_, own)), before, features in zip(parts, states, remembered, strict=True):
            of_slot = outputs[:, slot.offset : slot.stop]
            change, after = self.form.change(of_form, of_slot, own, before[split:], steps)
            changes.append(change)
            after_all += [*features, *after]
        return params - torch.cat(changes, 1), tuple(after_all)

    def judged(
        self, optimizee: Optimizee, params: Float[Tensor, "S P"], state: State
    ) -> Float[Tensor, "S P"]:
        return params
