"""Synaptic flow: pruning without data, and without cutting a network in two.

Tanaka et al., NeurIPS 2020, algorithm 1: `w dR/dw` for the sum R of the outputs of the network with
the absolute values of all parameters and running statistics, on an input of ones. It wants many
rounds (`prune_in_rounds`; 100 as published).

Two things differ from the published code. It is computed in float64, for in float32 R of a deep
network is infinite. And biases and running means are 0: a flow that springs from biases is not
conserved from layer to layer, so that layers before them can be emptied, which is what the method
is there to prevent.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning.attached_masks import pruning_masks
from nn_graphs.networks.pruning.scoring import Inputs, effective, gradients, scoring_copy

SOURCES = ("bias", "running_mean", "in_proj_bias")  # of recurrent layers, bias_ih_l0 and so on


@dataclass(frozen=True, eq=False)
class SynapticFlow:
    """The saliency, in evaluation mode.

    Attributes:
        example_inputs: what the module takes, of one point; only shapes matter.
    """

    example_inputs: Inputs

    def __call__(self, module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
        """Raises NNGraphsError where even float64 overflows."""
        copied, weights = scoring_copy(module, names)
        copied.double().eval()
        _make_positive(copied)
        given = self.example_inputs
        inputs = given if isinstance(given, tuple) else (given,)
        ones = [_ones(value[:1]) for value in inputs]
        outputs = torch.utils._pytree.tree_leaves(copied(*ones))
        flow = sum(output.sum() for output in outputs)
        if not flow.isfinite():
            raise NNGraphsError(
                f"find the synaptic flow of a {type(module).__name__}",
                found="the sum of its outputs is not finite in float64.",
                do="Divide the weights of its layers by their norms first.",
            )
        found = gradients(flow, weights)
        values = effective(weights, pruning_masks(copied, names))
        return {n: values[n] * gradient for n, gradient in zip(names, found, strict=True)}


@torch.no_grad()
def _make_positive(module: nn.Module) -> None:
    for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
        if name.removesuffix(".original").rpartition(".")[2].startswith(SOURCES):
            tensor.zero_()
        elif tensor.is_floating_point():
            tensor.abs_()


def _ones(value: Tensor) -> Tensor:
    """Ones in the place of numbers; tokens stay."""
    is_number = value.is_floating_point()
    return torch.ones_like(value, dtype=torch.float64) if is_number else value
