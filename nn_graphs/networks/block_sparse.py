"""Products with a masked weight that touch only what the mask leaves.

Where consecutive rows of a mask are equal, as those of one node of a relational graph are, they
make one small dense product with the inputs that they see. On a CPU this beats the whole product
with zeros in it when the mask is sparse and its blocks are not too small; `suits` says when, from
the measurements in `experiments/benchmarks` (one thread, `bench_masked_layers.py`).
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable

MAX_DENSITY = 0.22
MIN_ROWS = 8  # rows in a block, on average
MIN_ROWS_UNFOLDED = 16  # the same for kernels larger than one, whose inputs are written out
MIN_WORK = 2**25  # multiply-accumulates of the dense product


@dataclass(frozen=True, eq=False)
class RowBlocks:
    """Blocks of consecutive equal rows of a mask `[out, in]`.

    Attributes:
        rows: first row and the row behind the last one.
        columns: indices of the columns that are left, for each block.
        density: share of the mask that is left.
    """

    rows: tuple[tuple[int, int], ...]
    columns: tuple[Tensor, ...]
    density: float

    @classmethod
    def from_mask(cls, mask: Bool[Tensor, "out in"]) -> "RowBlocks":
        changes = (mask[1:] != mask[:-1]).any(dim=1).nonzero().squeeze(1) + 1
        rows = tuple(pairwise([0, *changes.tolist(), len(mask)]))
        columns = tuple(mask[start].nonzero().squeeze(1) for start, _ in rows)
        return cls(rows, columns, mask.float().mean().item())

    def suits(self, weight: Tensor) -> bool:
        """Whether `block_product` beats the dense product with `weight` `[out, in, *kernel]`.

        There must also be enough of it: `MIN_WORK`.
        """
        kernel = weight[0, 0].numel()
        min_rows = MIN_ROWS if kernel == 1 else MIN_ROWS_UNFOLDED
        return self.density <= MAX_DENSITY and len(weight) >= min_rows * len(self.rows)


def block_product(
    weight: Float[Tensor, "out in kernel"],
    inputs: Float[Tensor, "in kernel positions"],
    blocks: RowBlocks,
) -> Float[Tensor, "out positions"]:
    """`weight * mask` times `inputs`, summed over `in` and `kernel`.

    Gradients of masked weights are zero. Differentiable once.
    """
    return _BlockProduct.apply(weight, inputs, blocks)


class _BlockProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight: Tensor, inputs: Tensor, blocks: RowBlocks) -> Tensor:
        inputs = inputs.contiguous()
        ctx.save_for_backward(weight, inputs)
        ctx.blocks = blocks
        outputs = inputs.new_empty(len(weight), inputs.shape[-1])
        for (start, stop), columns in zip(blocks.rows, blocks.columns, strict=True):
            part = weight[start:stop].index_select(1, columns).flatten(1)
            seen = inputs.index_select(0, columns).flatten(0, 1)
            torch.mm(part, seen, out=outputs[start:stop])
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        weight, inputs = ctx.saved_tensors
        gradient = gradient.contiguous()
        needs_weight, needs_inputs, _ = ctx.needs_input_grad
        of_weight = torch.zeros_like(weight) if needs_weight else None
        of_inputs = torch.zeros_like(inputs) if needs_inputs else None
        for (start, stop), columns in zip(ctx.blocks.rows, ctx.blocks.columns, strict=True):
            rows, shape = gradient[start:stop], (len(columns), *inputs.shape[1:])
            if needs_weight:
                seen = inputs.index_select(0, columns).flatten(0, 1)
                part = (rows @ seen.t()).view(stop - start, *shape[:2])
                of_weight[start:stop].index_copy_(1, columns, part)
            if needs_inputs:
                part = weight[start:stop].index_select(1, columns).flatten(1)
                of_inputs.index_add_(0, columns, (part.t() @ rows).view(shape))
        return of_weight, of_inputs, None
