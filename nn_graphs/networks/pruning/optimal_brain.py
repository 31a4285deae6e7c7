"""Optimal brain damage and layer-wise optimal brain surgeon: saliencies by second derivatives.

Damage (LeCun et al., NeurIPS 1989) takes the diagonal of the Hessian of the loss, without their
approximation of it by back-propagated second derivatives: exact, or estimated (Hutchinson; Yao et
al., AAAI 2021). The surgeon (Dong et al., NeurIPS 2017) takes the error that a layer's outputs make
on its inputs, which is a square, and moves the weights that are left so that it is smallest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.pruning.attached_masks import (
    Place,
    check_names,
    pruning_masks,
    weight_places,
)
from nn_graphs.networks.pruning.scoring import (
    Batches,
    Inputs,
    Loss,
    Weights,
    effective,
    gradients,
    scoring_copy,
    shared_losses,
)


@dataclass(frozen=True, eq=False)
class BrainDamage:
    """`h w^2 / 2` for the second derivative h of the loss by each weight alone.

    Attributes:
        batches, loss: the loss is the mean over the pairs (inputs, targets).
        num_probes: random signs v for the estimate of h by the mean of `v (H v)`; None: all second
            derivatives, exactly, one product for each weight.
        seed: of the signs.
    """

    batches: Batches
    loss: Loss = F.cross_entropy
    num_probes: int | None = 64
    seed: int = 0

    def __call__(self, module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
        copied, weights = scoring_copy(module, names)
        values = effective(weights, pruning_masks(copied, names))
        curvature = self._diagonal(copied, weights)
        return {name: curvature[name] * values[name] ** 2 / 2 for name in names}

    def _diagonal(self, module: nn.Module, weights: Weights) -> dict[str, Tensor]:
        total = [torch.zeros_like(weight) for weight in weights.values()]
        for loss in shared_losses(module, self.batches, self.loss):
            slopes = gradients(loss, weights, create_graph=True)
            own = self._exact(slopes, weights) if self.num_probes is None else None
            own = self._estimated(slopes, weights) if own is None else own
            total = [a + b for a, b in zip(total, own, strict=True)]
        return dict(zip(weights, total, strict=True))

    def _estimated(self, slopes: list[Tensor], weights: Weights) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        mean = [torch.zeros_like(slope) for slope in slopes]
        for _ in range(self.num_probes):
            signs = [2.0 * torch.randint(2, s.shape, generator=generator).to(s) - 1 for s in slopes]
            products = _hessian_product(slopes, signs, weights)
            parts = zip(mean, signs, products, strict=True)
            mean = [m + sign * product / self.num_probes for m, sign, product in parts]
        return mean

    def _exact(self, slopes: list[Tensor], weights: Weights) -> list[Tensor]:
        diagonals = []
        for number, slope in enumerate(slopes):
            found = []
            for place in range(slope.numel()):
                direction = [torch.zeros_like(other) for other in slopes]
                direction[number].view(-1)[place] = 1.0
                product = _hessian_product(slopes, direction, weights)[number]
                found.append(product.flatten()[place])
            diagonals.append(torch.stack(found).view_as(slope))
        return diagonals


def _hessian_product(
    slopes: list[Tensor], direction: list[Tensor], weights: Weights
) -> list[Tensor]:
    inner = sum((a * b).sum() for a, b in zip(slopes, direction, strict=True))
    if not inner.requires_grad:
        return [torch.zeros_like(weight) for weight in weights.values()]
    found = torch.autograd.grad(inner, list(weights.values()), retain_graph=True, allow_unused=True)
    return [
        torch.zeros_like(weight) if product is None else product
        for weight, product in zip(weights.values(), found, strict=True)
    ]


@dataclass(frozen=True, eq=False)
class LayerwiseSurgeon:
    """`w^2 / (2 [H^-1]_qq)` for `H = 2 X^T X / n` of the inputs X that a layer sees.

    `prune` lets it move the weights that are left: their layer's outputs are then as near to what
    they were as any weights under the mask can bring them, but for the damping. For linear layers
    and convolutions of two axes and one group. Time and memory grow with the cube, and the square,
    of the number of inputs of a layer; where some weights are gone, once for each row.

    Attributes:
        inputs: batches of what the module takes; it is run in evaluation mode.
        damping: added to the diagonal of H, as a share of its mean.
    """

    inputs: Sequence[Inputs]
    damping: float = 1e-6

    def __call__(self, module: nn.Module, names: Sequence[str]) -> dict[str, Tensor]:
        """Raises NNGraphsError where a weight is of another kind of layer."""
        layers = self._layers(module, names)
        hessians = self._hessians(module, layers)
        masks = pruning_masks(module, names)
        found = {}
        for name, place in layers.items():
            weight = place.original.detach().cpu().flatten(1).double()
            own = _inverse_diagonals(hessians[name], masks[name].cpu().flatten(1))
            found[name] = (weight**2 / (2 * own)).view(place.original.shape)
        return found

    @torch.no_grad()
    def compensate(
        self, module: nn.Module, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
    ) -> None:
        """Moves the weights that are left, for those that are masked now and were not before."""
        layers = self._layers(module, list(after))
        hessians = self._hessians(module, layers)
        for name, place in layers.items():
            weight = place.original.cpu().flatten(1).double()
            left = after[name].cpu().flatten(1)
            gone = before[name].cpu().flatten(1) & ~left
            for row in gone.any(1).nonzero()[:, 0].tolist():
                kept, lost = left[row], gone[row]
                pull = hessians[name][kept][:, lost] @ weight[row, lost]
                own = hessians[name][kept][:, kept]
                weight[row, kept] += torch.linalg.solve(own, pull) if kept.any() else 0.0
            place.original.copy_(weight.view(place.original.shape))

    def _layers(self, module: nn.Module, names: Sequence[str]) -> dict[str, Place]:
        asked = "prune by the layer-wise surgeon"
        check_names(module, names, asked=asked)
        places = weight_places(module)
        for name in names:
            layer = places[name][0].layer
            is_convolution = isinstance(layer, nn.Conv2d) and layer.groups == 1
            is_known = isinstance(layer, nn.Linear) or is_convolution
            if not is_known or len(places[name]) > 1 or places[name][0].attribute != "weight":
                raise NNGraphsError(
                    asked,
                    found=f"{name} is of a {type(layer).__name__}, in {len(places[name])} places.",
                    do="Name weights of linear layers and 2d convolutions of one group alone.",
                )
        return {name: places[name][0] for name in names}

    @torch.no_grad()
    def _hessians(self, module: nn.Module, layers: Mapping[str, Place]) -> dict[str, Tensor]:
        found = dict.fromkeys(layers, 0.0)
        counts = dict.fromkeys(layers, 0)

        def watch(name: str):
            def hook(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
                seen = seen_by(layer, inputs[0]).double()
                found[name] = found[name] + (2 * seen.T @ seen).cpu()
                counts[name] += len(seen)

            return hook

        modes = {layer: layer.training for layer in module.modules()}
        hooks = [p.layer.register_forward_pre_hook(watch(name)) for name, p in layers.items()]
        try:
            module.eval()
            for inputs in self.inputs:
                module(*(inputs if isinstance(inputs, tuple) else (inputs,)))
        finally:
            for hook in hooks:
                hook.remove()
            for layer, mode in modes.items():
                layer.training = mode
        return {name: self._damped(name, found[name], counts[name]) for name in layers}

    def _damped(self, name: str, total: Tensor | float, count: int) -> Tensor:
        if not count:
            raise NNGraphsError(
                "prune by the layer-wise surgeon",
                found=f"no input reached the layer of {name}.",
                do="Give batches of inputs that run through all layers that are named.",
            )
        mean = total / count
        scale = mean.diagonal().mean().item() or 1.0
        return mean + self.damping * scale * torch.eye(len(mean), dtype=mean.dtype)


def seen_by(layer: nn.Module, inputs: Tensor) -> Float[Tensor, "positions in"]:
    """What every weight of an output is multiplied with, position by position."""
    if isinstance(layer, nn.Linear):
        return inputs.flatten(0, -2)
    batch = inputs if inputs.dim() == 4 else inputs[None]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    padding = layer._reversed_padding_repeated_twice
    padded = F.pad(batch, padding, mode=mode) if any(padding) else batch
    columns = F.unfold(padded, layer.kernel_size, layer.dilation, 0, layer.stride)
    return columns.transpose(1, 2).flatten(0, 1)


def _inverse_diagonals(
    hessian: Float[Tensor, "in in"], mask: Bool[Tensor, "out in"]
) -> Float[Tensor, "out in"]:
    """For every row the diagonal of the inverse among the weights that are left; else 1."""
    found = torch.ones(mask.shape, dtype=hessian.dtype)
    known: dict[bytes, Tensor] = {}
    for row, left in enumerate(mask):
        key = left.numpy().tobytes()
        if key not in known:
            known[key] = torch.linalg.inv(hessian[left][:, left]).diagonal()
        found[row, left] = known[key]
    return found
