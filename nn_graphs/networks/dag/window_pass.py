"""A directed acyclic network as one operation with one gradient.

Layers of few neurons take less time to compute than operations take to start, and with the gradient
of every slice, product and concatenation apart a step is a dozen operations a layer. Here all
values lie in one tensor, neurons first, in which what a layer reads is a range of rows: a layer is
a product and an activation, its gradient the activation's and a product.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.networks.dag.layer_reading import are_few

ACTIVATE = {"relu": torch.relu_, "sigmoid": torch.sigmoid_, "tanh": torch.tanh_}
"""Activations whose gradient follows from their outputs, in place."""

TOWARDS_INPUTS: dict[str, Callable[..., Tensor]] = {  # of (gradient, outputs, grad_input=)
    "relu": partial(torch.ops.aten.threshold_backward.grad_input, threshold=0),
    "sigmoid": torch.ops.aten.sigmoid_backward.grad_input,
    "tanh": torch.ops.aten.tanh_backward.grad_input,
}


class WindowPass(torch.autograd.Function):
    """Outputs of layers each of which reads all values of some earlier layer and those behind it.

    `apply(inputs, again, activation, windows, masks, *parameters)`:

        inputs: `[B, inputs]`.
        again: the same outputs by operations of their own, `again(inputs)`; where a gradient is to
            be differentiated, it is taken through these.
        activation: a name in `ACTIVATE`, of all layers but the last.
        windows: for each layer the place of the first value that it reads.
        masks: as numbers, `[out, in]` each.
        parameters: all weights, `[out, in]` each, then all biases.

    Returns:
        `[B, outputs]`.
    """

    @staticmethod
    def forward(
        ctx,
        inputs: Float[Tensor, "B in"],
        again: Callable[[Tensor], Tensor],
        activation: str,
        windows: Sequence[int],
        masks: Sequence[Tensor],
        *parameters: Tensor,
    ) -> Float[Tensor, "B out"]:
        weights, biases = parameters[: len(windows)], parameters[len(windows) :]
        sizes = [inputs.shape[1], *map(len, weights)]
        values = inputs.new_empty(sum(sizes), len(inputs))
        rows, ends = values.split(sizes), [*accumulate(sizes)]
        rows[0].copy_(inputs.t())
        values[sizes[0] :] = torch.cat(biases).unsqueeze(1)
        masked = torch._foreach_mul(weights, masks)
        for weight, first, end, own in zip(masked, windows, ends, rows[1:], strict=False):
            own.addmm_(weight, values[first:end])
            if own is not rows[-1]:
                ACTIVATE[activation](own)
        ctx.save_for_backward(inputs, values)
        ctx.again, ctx.activation, ctx.parameters = again, activation, parameters
        ctx.windows, ctx.sizes, ctx.masked, ctx.masks = windows, sizes, masked, masks
        return rows[-1].t().clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx, gradient: Float[Tensor, "B out"]) -> tuple[Tensor | None, ...]:
        inputs, values = ctx.saved_tensors
        if torch.is_grad_enabled():  # this gradient will itself be differentiated
            return _differentiable(ctx.again, gradient, inputs, ctx.parameters)
        gradients = torch.zeros_like(values)
        own, rows = gradients.split(ctx.sizes), values.split(ctx.sizes)
        own[-1].copy_(gradient.t())
        places = list(zip(ctx.windows, accumulate(ctx.sizes), strict=False))
        towards_inputs = TOWARDS_INPUTS[ctx.activation]
        for number in range(len(places), 0, -1):
            gradient = own[number]
            if number < len(places):
                towards_inputs(gradient, rows[number], grad_input=gradient)
            first, end = places[number - 1]
            if end > ctx.sizes[0] or ctx.needs_input_grad[0]:
                gradients[first:end].addmm_(ctx.masked[number - 1].t(), gradient)
        behind = gradients[ctx.sizes[0] :]
        of_weights = _of_weights(behind, values, ctx.sizes[1:], places)
        of_weights = torch._foreach_mul(of_weights, ctx.masks)
        of_biases = behind.sum(1).split(ctx.sizes[1:])
        return own[0].t(), None, None, None, None, *of_weights, *of_biases


def _of_weights(
    gradients: Float[Tensor, "neurons B"],
    values: Float[Tensor, "values B"],
    widths: Sequence[int],
    places: Sequence[tuple[int, int]],
) -> list[Tensor]:
    """Gradients of weights without masks: one product of all layers where it is not much larger."""
    num_seen = places[-1][1]
    num_needed = sum(n * (end - first) for n, (first, end) in zip(widths, places, strict=True))
    if are_few(len(gradients) * num_seen, num_needed):
        parts = (gradients @ values[:num_seen].t()).split(widths)
        return [part[:, first:end] for part, (first, end) in zip(parts, places, strict=True)]
    own = zip(gradients.split(widths), places, strict=True)
    return [g @ values[first:end].t() for g, (first, end) in own]


def _differentiable(
    again: Callable[[Tensor], Tensor],
    gradient: Tensor,
    inputs: Tensor,
    parameters: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """The gradients of `WindowPass`, by operations that have gradients themselves."""
    wanted = [inputs, *parameters]
    needed = [one for one in wanted if one.requires_grad]
    found = iter(torch.autograd.grad(again(inputs), needed, gradient, create_graph=True))
    first, *others = [next(found) if one.requires_grad else None for one in wanted]
    return first, None, None, None, None, *others
