"""A small MLP that tells each parameter's update from its gradient, momenta and step.

The features and the output are those of Metz et al. (2022, "LOLv2"): parameter, gradient and six
averages of gradients, each divided by its root mean square over the parameter's tensor, and eleven
features of the step, tanh(t / s - 1); the update is -0.001 d exp(0.001 m) of the two outputs d, m.
What is the same for all parameters of a tensor does not depend on their order, so that permuted
neurons get permuted updates, and one MLP runs on every architecture.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from nn_graphs.learned_optimizers.inner_tasks import InnerTask
from nn_graphs.networks.parameters import ParameterLayout
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import stacked_forward

DECAYS = (0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
TIME_SCALES = (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
NUM_FEATURES = 2 + len(DECAYS) + len(TIME_SCALES)
UPDATE_SCALE = 1e-3  # of both outputs
EPS = 1e-5  # added to mean squares


@dataclass(frozen=True)
class ParameterMLP:
    """The optimizer as a function; its weights theta are given with each call.

    Attributes:
        hidden: widths of the hidden layers; the published ones give 1,762 weights.
    """

    hidden: tuple[int, ...] = (32, 32)

    @property
    def spec(self) -> NetworkSpec:
        """The architecture of the MLP, whose parameters theta are."""
        return NetworkSpec.mlp((NUM_FEATURES, *self.hidden, 2), activation="relu")

    def start(self, params: Float[Tensor, "S P"]) -> Float[Tensor, "S P momenta"]:
        """The state before the first step: averages of gradients, all zero."""
        return params.new_zeros(*params.shape, len(DECAYS))

    def step(
        self,
        theta: Float[Tensor, "S M"],
        layout: ParameterLayout,
        params: Float[Tensor, "S P"],
        gradients: Float[Tensor, "S P"],
        momenta: Float[Tensor, "S P momenta"],
        steps: Int32[Tensor, "S"],
    ) -> tuple[Float[Tensor, "S P"], Float[Tensor, "S P momenta"]]:
        """Parameters and momenta after a step of every network, each with weights of its own.

        Args:
            theta: of the MLPs.
            layout: which parameters make up a tensor.
            params, gradients, momenta: of the networks.
            steps: how many steps each has made.
        """
        decays = momenta.new_tensor(DECAYS)
        momenta = torch.lerp(gradients.unsqueeze(2), momenta, decays)
        values = torch.cat([params.unsqueeze(2), gradients.unsqueeze(2), momenta], 2)
        times = torch.tanh(steps.to(params).unsqueeze(1) / params.new_tensor(TIME_SCALES) - 1)
        times = times.unsqueeze(1).expand(-1, params.shape[1], -1)
        outputs = stacked_forward(self.spec, theta, torch.cat([_normed(values, layout), times], 2))
        direction, magnitude = outputs.unbind(2)
        change = UPDATE_SCALE * direction * (UPDATE_SCALE * magnitude).exp()
        return params - change, momenta


@dataclass(frozen=True, eq=False)
class TrainedByMLP:
    """Inner runs of a task, for `PersistentEvolution`: the state is parameters and momenta."""

    task: InnerTask
    optimizer: ParameterMLP

    def start(self, keys: Int32[Tensor, "R"]) -> tuple[Tensor, ...]:
        params = self.task.initial_params(keys)
        return params, self.optimizer.start(params)

    def step(
        self,
        theta: Float[Tensor, "R M"],
        state: tuple[Tensor, ...],
        keys: Int32[Tensor, "R"],
        steps: Int32[Tensor, "R"],
    ) -> tuple[Float[Tensor, "R"], tuple[Tensor, ...]]:
        params, momenta = state
        losses, gradients = self.task.losses_and_gradients(params, keys, steps)
        layout = self.task.spec.parameters
        return losses, self.optimizer.step(theta, layout, params, gradients, momenta, steps)


def _normed(
    values: Float[Tensor, "S P features"], layout: ParameterLayout
) -> Float[Tensor, "S P features"]:
    """Each feature in units of its root mean square over the tensor."""
    parts = [values[:, slot.offset : slot.stop] for slot in layout.slots]
    return torch.cat([x * (x.square().mean(1, keepdim=True) + EPS).rsqrt() for x in parts], 1)
