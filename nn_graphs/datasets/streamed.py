"""Images in folders by class, read from the disk batch by batch: for sets larger than memory.

Training images are crops of random size and ratio, reflected by chance, with jitter along the
principal colours of ImageNet (Szegedy et al., CVPR 2015; Krizhevsky et al., NIPS 2012); others are
scaled and cut out of the middle: the published preparation of ImageNet in relational-graph studies.
What is drawn for an image depends on the seed, the epoch and the image alone, not on workers.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from PIL import Image
from torch.utils.data import Dataset

from nn_graphs.datasets.folders import ImageFiles, middle

MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]
COLOURS = np.array(  # principal axes of ImageNet's pixels in [0, 1], by their deviations
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]]
) * [0.2175, 0.0188, 0.0045]
NUM_TRIES = 10  # for a crop that fits into the image

Pixels = Float32[np.ndarray, "3 side side"]


@dataclass(frozen=True)
class RandomCrops:
    """How training images are drawn from files.

    Attributes:
        min_area: of a crop, in relation to the image.
        max_ratio: of a crop's sides.
        has_flips: whether half of them are reflected left to right.
        colour_jitter: deviation of what is added along the principal colours, in relation to that
            of ImageNet's pixels.
    """

    min_area: float = 0.08
    max_ratio: float = 4 / 3
    has_flips: bool = True
    colour_jitter: float = 0.1

    def __call__(self, image: Image.Image, side: int, generator: np.random.Generator) -> Pixels:
        """A crop, scaled to `side` x `side`."""
        cut = self.box(*image.size, generator)
        image = image.resize((side, side), Image.Resampling.BILINEAR, box=cut)
        if self.has_flips and generator.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        added = COLOURS @ generator.normal(0, self.colour_jitter, 3)
        return normalised(image, added)

    def box(
        self, width: int, height: int, generator: np.random.Generator
    ) -> tuple[int, int, int, int]:
        """Left, top, right and bottom; the largest square where no try fits."""
        for _ in range(NUM_TRIES):
            area = width * height * generator.uniform(self.min_area, 1)
            ratio = self.max_ratio ** generator.uniform(-1, 1)
            across, down = round((area * ratio) ** 0.5), round((area / ratio) ** 0.5)
            if 0 < across <= width and 0 < down <= height:
                left = int(generator.integers(width - across + 1))
                top = int(generator.integers(height - down + 1))
                return left, top, left + across, top + down
        side = min(width, height)
        left, top = (width - side) // 2, (height - side) // 2
        return left, top, left + side, top + side


@dataclass(eq=False)
class ImageStream(Dataset):
    """A set of images whose items are `(pixels [3, side, side], label)`; picklable.

    An item is asked for by its number for evaluation, and by (number, seed, epoch) for training.

    Attributes:
        files: of the set.
        side: of the squares.
        whole_side: to which the shorter side is scaled before the middle is cut out.
        crops: how training images are drawn.
    """

    files: ImageFiles
    side: int = 224
    whole_side: int = 256
    crops: RandomCrops = field(default_factory=RandomCrops)

    @classmethod
    def open(cls, root: Path, name: str, *, side: int = 224, **options) -> "ImageStream":
        """The set `<root>/<name>/` or `<root>/<name>.zip`, its whole side 8/7 of the side.

        Raises:
            NNGraphsError: as `read_image_folders`.
        """
        return cls(ImageFiles.find(root, name), side, round(side * 8 / 7), **options)

    def __len__(self) -> int:
        return len(self.files.names)

    def __getitem__(self, place: int | tuple[int, int, int]) -> tuple[torch.Tensor, int]:
        number, *draw = (place,) if isinstance(place, int) else place
        image = self.files.read(number)
        if draw:
            pixels = self.crops(image, self.side, np.random.default_rng([*draw, number]))
        else:
            pixels = normalised(middle(image, self.whole_side, self.side))
        return torch.from_numpy(pixels), int(self.files.labels[number])


def normalised(image: Image.Image, added: Float[np.ndarray, "3"] | float = 0.0) -> Pixels:
    """Pixels by channel, brought to mean 0 and deviation 1 over ImageNet."""
    pixels = (np.asarray(image, np.float32) / 255 + added - MEAN) / DEVIATION
    return np.ascontiguousarray(pixels.astype(np.float32).transpose(2, 0, 1))
