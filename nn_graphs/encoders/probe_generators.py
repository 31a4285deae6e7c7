"""Inputs at which networks are run, made by learned generators from learned codes.

Kahana et al., ICLR 2025 (ProbeGen): a deep linear map of codes keeps the probes of a model related
to each other, where free ones follow the noise of the training networks one by one. Points come
from two linear maps, unbounded; images from transposed convolutions with nothing between them and
a tanh behind.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

ProbeForm = Literal["free", "deep_linear"]
CODE_DIM = 32
CHANNELS = (128, 64, 32, 16)  # of images of 4, 8, 16 and 32 pixels


class GeneratedPoints(nn.Module):
    """Points `[num_probes, num_inputs]`: two linear maps of learned codes.

    Args:
        num_probes: how many.
        num_inputs: coordinates of each.
    """

    def __init__(self, num_probes: int, num_inputs: int):
        super().__init__()
        self.codes = nn.Parameter(torch.randn(num_probes, CODE_DIM))
        self.maps = nn.Sequential(nn.Linear(CODE_DIM, CODE_DIM), nn.Linear(CODE_DIM, num_inputs))

    def forward(self) -> Float[Tensor, "num_probes num_inputs"]:
        return self.maps(self.codes)


class FreePoints(nn.Module):
    """Points that are parameters themselves; they begin uniformly in [-1, 1]."""

    def __init__(self, num_probes: int, num_inputs: int):
        super().__init__()
        self.points = nn.Parameter(torch.empty(num_probes, num_inputs).uniform_(-1, 1))

    def forward(self) -> Float[Tensor, "num_probes num_inputs"]:
        return self.points


class GeneratedImages(nn.Module):
    """Images `[num_probes, channels, size, size]`: transposed convolutions of learned codes.

    From one pixel to four, then to twice as many each time, as many as are needed; the middle is
    taken of what is larger than the images.

    Args:
        num_probes: how many.
        num_channels: of each.
        size: height and width.
        num_extra: convolutions more, among 32 channels, where there are so many.
    """

    def __init__(self, num_probes: int, num_channels: int, size: int, *, num_extra: int = 0):
        super().__init__()
        self.size = size
        self.codes = nn.Parameter(torch.randn(num_probes, CODE_DIM))
        num_doublings = max(0, math.ceil(math.log2(size / 4)))
        widths = [*CHANNELS, *CHANNELS[-1:] * num_doublings][: num_doublings + 1]
        maps: list[nn.Module] = [nn.ConvTranspose2d(CODE_DIM, widths[0], 4)]
        for number, (before, after) in enumerate(pairwise(widths), start=2):
            maps.append(nn.ConvTranspose2d(before, after, 4, stride=2, padding=1))
            if number == 3:
                maps += [nn.ConvTranspose2d(after, after, 3, padding=1) for _ in range(num_extra)]
        maps.append(nn.ConvTranspose2d(widths[-1], num_channels, 3, padding=1))
        self.maps = nn.Sequential(*maps)

    def forward(self) -> Float[Tensor, "num_probes channels size size"]:
        images = self.maps(self.codes[:, :, None, None])
        first = (images.shape[-1] - self.size) // 2
        return images[:, :, first : first + self.size, first : first + self.size].tanh()


class FreeImages(nn.Module):
    """Images that are parameters themselves, with a tanh behind."""

    def __init__(self, num_probes: int, num_channels: int, size: int):
        super().__init__()
        self.images = nn.Parameter(torch.randn(num_probes, num_channels, size, size))

    def forward(self) -> Float[Tensor, "num_probes channels size size"]:
        return self.images.tanh()


def make_points(form: ProbeForm, num_probes: int, num_inputs: int) -> nn.Module:
    """Points of a form."""
    kinds = {"free": FreePoints, "deep_linear": GeneratedPoints}
    return kinds[form](num_probes, num_inputs)


def make_images(
    form: ProbeForm, num_probes: int, num_channels: int, *, size: int, num_extra: int = 0
) -> nn.Module:
    """Square images of a form."""
    if form == "free":
        return FreeImages(num_probes, num_channels, size)
    return GeneratedImages(num_probes, num_channels, size, num_extra=num_extra)
