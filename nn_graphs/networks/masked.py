"""Linear and convolutional layers some of whose weights do not exist.

A mask `[out, in]` says which pairs of channels are connected; for a convolution it may also tell
the positions of a kernel apart, `[out, in, *kernel]`. It is a boolean buffer: it is in state
dicts, follows `.to()`, and is no parameter. Masked weights are zero and stay zero: they are set to
zero whenever a mask or a state dict comes in, get a zero gradient, and weight decay keeps a zero.

Relational graphs prescribe masks (`networks/relational`), pruning finds them.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.networks.block_sparse import MIN_WORK, RowBlocks, block_product

EXECUTIONS = ("auto", "dense", "blocks")


class MaskedLayer(nn.Module):
    """What masked layers share; `weight` is `[out, in, *kernel]`.

    Attributes:
        mask: a boolean buffer, `[out, in]` with ones for the kernel, or the weight's own shape. To
            change it, use `set_mask`.
        execution: "dense" multiplies by weight times mask; "blocks" multiplies only what the mask
            leaves, see `block_sparse`; "auto" takes blocks where they are faster. Both give the
            same up to rounding.
    """

    mask: Tensor
    weight: nn.Parameter
    execution: str = "auto"
    _derived: "_Derived | None" = None

    def set_mask(self, mask: Tensor) -> None:
        """Takes a new mask and sets the weights outside of it to zero.

        Raises:
            NNGraphsError: it is neither of the weight's shape nor of its first two axes, or not
                boolean.
        """
        shapes = [tuple(self.weight.shape), tuple(self.weight.shape[:2])]
        shapes.append((*shapes[1], *[1] * (self.weight.dim() - 2)))
        if mask.dtype != torch.bool or tuple(mask.shape) not in shapes:
            raise NNGraphsError(
                f"mask weights of the shape {list(self.weight.shape)}",
                found=f"the mask is {list(mask.shape)}, of {mask.dtype}.",
                do=f"Give a boolean tensor {list(shapes[1])}, or of the weights' own shape.",
            )
        mask = mask.to(self.weight.device, copy=True)
        if mask.dim() < self.weight.dim():
            mask = mask[(..., *[None] * (self.weight.dim() - 2))]
        self.register_buffer("mask", mask)
        self.apply_mask()

    @torch.no_grad()
    def apply_mask(self) -> None:
        """Sets masked weights to zero, e.g. after new initial values."""
        self.weight.mul_(self.mask)

    def reset_parameters(self) -> None:
        """Torch's own initial values where the mask is."""
        super().reset_parameters()
        if "mask" in self._buffers:  # not yet while the layer is being made
            self.apply_mask()

    def masked_weight(self) -> Float[Tensor, "out in *kernel"]:
        """The weight with zeros where the mask is, whatever is stored there."""
        if torch.compiler.is_compiling():  # also in torch.export
            return self.weight * self.mask
        return self.weight * self.mask_as_numbers()

    def mask_as_numbers(self) -> Float[Tensor, "out in *_"]:
        """The mask in the weight's type; made once for each mask."""
        return self._known().factors(self.weight.dtype)

    @property
    def num_connections(self) -> int:
        """Weights that exist."""
        return int(self.mask.sum()) * self.weight.numel() // self.mask.numel()

    @property
    def density(self) -> float:
        """Share of the weights that exist."""
        return self.num_connections / self.weight.numel()

    def row_blocks(self) -> RowBlocks:
        """Blocks of equal rows of the mask; found once for each mask.

        Raises:
            NNGraphsError: the mask tells the positions of a kernel apart.
        """
        if self.mask[0, 0].numel() > 1:
            raise NNGraphsError(
                "run a masked layer in blocks",
                found=f"its mask {list(self.mask.shape)} tells the positions of a kernel apart.",
                do='Use the execution "dense" or "auto".',
            )
        return self._known().blocks

    def _takes_blocks(self, inputs: Tensor) -> bool:
        if self.execution != "auto":
            return self.execution == "blocks"
        return (
            not torch.compiler.is_compiling()
            and self._known().suits_blocks(self.weight)
            and inputs.numel() // self.weight.shape[1] * self.weight.numel() >= MIN_WORK
            and inputs.dtype == self.weight.dtype
            and not torch.is_autocast_enabled("cpu")
            and not torch._C._are_functorch_transforms_active()  # a custom gradient is no vmap rule
        )

    def _known(self) -> "_Derived":
        """What is derived from the mask, anew where it was changed."""
        mask, known = self._buffers["mask"], self._derived
        if known is None or known.mask is not mask or known.version != _version(mask):
            self._derived = known = _Derived(mask)
        return known

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_derived"}

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.apply_mask()

    def _init_mask(self, mask: Tensor | None, execution: str) -> None:
        check_known(execution, EXECUTIONS, asked=f"run a masked layer by {execution!r}")
        self.execution = execution
        if mask is None:
            mask = torch.ones(self.weight.shape[:2], dtype=torch.bool, device=self.weight.device)
        self.set_mask(mask)


class _Derived:
    """What follows from a mask, found when it is first asked for."""

    def __init__(self, mask: Tensor):
        self.mask, self.version = mask, _version(mask)
        self._factors: Tensor | None = None
        self._suits_blocks: bool | None = None

    def factors(self, dtype: torch.dtype) -> Tensor:
        """The mask as numbers: a product with booleans takes four times as long."""
        if self._factors is None or self._factors.dtype != dtype:
            self._factors = self.mask.to(dtype)
        return self._factors

    @cached_property
    def blocks(self) -> RowBlocks:
        return RowBlocks.from_mask(self.mask.flatten(1))

    def suits_blocks(self, weight: Tensor) -> bool:
        if self._suits_blocks is None:
            self._suits_blocks = (
                weight.device.type == "cpu"
                and weight.dtype in (torch.float32, torch.float64)
                and self.mask[0, 0].numel() == 1
                and self.blocks.suits(weight)
            )
        return self._suits_blocks


def _version(mask: Tensor) -> int | None:
    """Counts the changes of a tensor's values; tensors of the inference mode have no count."""
    return None if mask.is_inference() else mask._version


class MaskedLinear(MaskedLayer, nn.Linear):
    """`nn.Linear` with a mask.

    Args:
        in_features, out_features, bias: as in `nn.Linear`.
        mask: `[out, in]`; all weights exist where it is None.
        execution: see `MaskedLayer`.

    Raises:
        NNGraphsError: the mask is of another shape, or the execution unknown.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        mask: Tensor | None = None,
        execution: str = "auto",
    ):
        nn.Linear.__init__(self, in_features, out_features, bias)
        self._init_mask(mask, execution)

    def forward(self, inputs: Float[Tensor, "*batch in"]) -> Float[Tensor, "*batch out"]:
        if not self._takes_blocks(inputs):
            return F.linear(inputs, self.masked_weight(), self.bias)
        columns = inputs.reshape(-1, self.in_features).t().unsqueeze(1)  # [in, 1, positions]
        outputs = block_product(self.weight.unsqueeze(2), columns, self.row_blocks())
        outputs = outputs.t().contiguous().view(*inputs.shape[:-1], self.out_features)
        return outputs if self.bias is None else outputs + self.bias


class MaskedConv(MaskedLayer):
    """What masked convolutions of 1, 2 and 3 axes share; of one group."""

    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    def forward(self, inputs: Float[Tensor, "*B_in_places"]) -> Float[Tensor, "*B_out_places"]:
        if not self._takes_blocks(inputs):
            return self._conv_forward(inputs, self.masked_weight(), self.bias)
        is_batch = inputs.dim() == len(self.kernel_size) + 2
        batch = inputs if is_batch else inputs.unsqueeze(0)
        sizes = self._out_sizes(batch)
        outputs = block_product(self.weight.flatten(2), self._columns(batch), self.row_blocks())
        outputs = outputs.view(-1, len(batch), *sizes).transpose(0, 1).contiguous()
        if self.bias is not None:
            outputs = outputs + self.bias.view(-1, *[1] * len(sizes))
        return outputs if is_batch else outputs.squeeze(0)

    def _columns(
        self, batch: Float[Tensor, "B in *places"]
    ) -> Float[Tensor, "in kernel positions"]:
        """Inputs as the kernel sees them."""
        kernel = self.weight[0, 0].numel()
        if kernel == 1 and set(self.stride) == {1} and set(self.padding) == {0}:
            return batch.transpose(0, 1).reshape(self.in_channels, 1, -1)
        seen = self._windows(batch)
        return seen.transpose(0, 1).reshape(self.in_channels, kernel, -1)

    def _windows(self, batch: Float[Tensor, "B in *places"]) -> Tensor:
        """`[B, in * kernel, positions]`, or with axes of their own for these."""
        ends = [size for size in reversed(self.padding) for _ in range(2)]
        seen, first = F.pad(batch, ends), 2
        for axis, (size, step, apart) in enumerate(
            zip(self.kernel_size, self.stride, self.dilation, strict=True), first
        ):
            seen = seen.unfold(axis, (size - 1) * apart + 1, step)[..., ::apart]
        places = range(first, first + len(self.kernel_size))
        kernel = range(first + len(self.kernel_size), seen.dim())
        seen = seen.permute(0, 1, *kernel, *places)
        return seen.reshape(len(batch), self.in_channels * self.weight[0, 0].numel(), -1)

    def _out_sizes(self, batch: Tensor) -> list[int]:
        sizes = zip(
            batch.shape[2:],
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]


class MaskedConv1d(MaskedConv, nn.Conv1d):
    """`nn.Conv1d` of one group with a mask, as `MaskedConv2d`; masks are `[out, in]` or `[out, in,
    length]`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] = 0,
        dilation: int | tuple[int] = 1,
        bias: bool = True,
        *,
        mask: Tensor | None = None,
        execution: str = "auto",
    ):
        nn.Conv1d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias
        )
        self._init_mask(mask, execution)


class MaskedConv2d(MaskedConv, nn.Conv2d):
    """`nn.Conv2d` of one group with a mask.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, bias: as in `nn.Conv2d`.
        mask: `[out, in]`, shared by all positions of the kernel, or `[out, in, height, width]`; all
            weights exist where it is None.
        execution: see `MaskedLayer`.

    Raises:
        NNGraphsError: the mask is of another shape, or the execution unknown.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        *,
        mask: Tensor | None = None,
        execution: str = "auto",
    ):
        nn.Conv2d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias
        )
        self._init_mask(mask, execution)

    def _windows(self, batch: Float[Tensor, "B in *places"]) -> Tensor:
        return F.unfold(batch, self.kernel_size, self.dilation, self.padding, self.stride)


class MaskedConv3d(MaskedConv, nn.Conv3d):
    """`nn.Conv3d` of one group with a mask, as `MaskedConv2d`; masks are `[out, in]` or `[out, in,
    depth, height, width]`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int, int],
        stride: int | tuple[int, int, int] = 1,
        padding: int | tuple[int, int, int] = 0,
        dilation: int | tuple[int, int, int] = 1,
        bias: bool = True,
        *,
        mask: Tensor | None = None,
        execution: str = "auto",
    ):
        nn.Conv3d.__init__(
            self, in_channels, out_channels, kernel_size, stride, padding, dilation, bias=bias
        )
        self._init_mask(mask, execution)
