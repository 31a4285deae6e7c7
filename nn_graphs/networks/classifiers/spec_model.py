"""Networks of one `NetworkSpec`, e.g. convolutional ones, as classifiers of the training engine."""

from dataclasses import dataclass
from functools import partial

from jaxtyping import Float
from torch import Tensor

from nn_graphs.networks.classifiers.model import Mode
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.networks.stacked import OnHidden, stacked_layers


@dataclass(frozen=True)
class SpecModel:
    """A stack of networks of `spec`; dropout falls on the outputs of all layers but the last.

    That is where the Small CNN Zoo has it: behind the activation of every convolution. Skips read
    outputs after dropout.
    """

    spec: NetworkSpec

    def __call__(
        self,
        params: Float[Tensor, "S num_params"],
        buffers: Float[Tensor, "S num_buffers"],
        inputs: Float[Tensor, "S_or_1 B *shape"],
        mode: Mode,
    ) -> tuple[Float[Tensor, "S B num_classes"], Float[Tensor, "S num_buffers"]]:
        shared = inputs[0] if len(inputs) == 1 else inputs
        layers = stacked_layers(self.spec, params, shared, on_hidden=_dropout(mode))
        return layers[-1], buffers


def _dropout(mode: Mode) -> OnHidden | None:
    return None if mode.dropout is None else partial(_drop, mode)


def _drop(mode: Mode, values: Tensor, layer: int) -> Tensor:
    return mode.drop(values, layer)
