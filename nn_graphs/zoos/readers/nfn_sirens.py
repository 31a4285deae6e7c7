"""The SIREN zoos of Zhou et al., NeurIPS 2023 ("NFN"): SIRENs of MNIST, Fashion-MNIST and CIFAR-10.

`siren_<mnist|fashion|cifar>_wts/randinit_smaller_<label>s/net<image>.pth`, the image numbers going
on from the training to the test images; fitted again with other initial values,
`randinit_smaller_aug<k>_<label>s/net<image>.pth`. SIRENs 2-32-32-<channels> of the preset `nfn`,
with the keys `net.0.linear.weight`, ..., `net.2.weight`. Splits are by image number.

A name `randinit_smaller_*` means the augmented folders too, and loaders that ask for it replace
networks by whichever re-fit comes last; here a folder's whole name decides.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.ranges import Count, in_ranges
from nn_graphs.zoos.readers.given_architectures import INRArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skip
from nn_graphs.zoos.readers.source_files import relative_paths
from nn_graphs.zoos.readers.sources import FileSource, Listing
from nn_graphs.zoos.zoo import SPLITS

DATASETS = {"mnist": "mnist", "fashion": "fashion_mnist", "cifar": "cifar10"}
IMAGE_SIZES = {"mnist": (28, 28), "fashion_mnist": (28, 28), "cifar10": (32, 32)}
FOLDER = re.compile(r"randinit_smaller(?:_aug(\d+))?_(\d+)s")
FILE = re.compile(r"net(\d+)\.pth")


@in_ranges
@dataclass(frozen=True)
class NFNSirens(FileSource):
    """SIRENs of images.

    Attributes:
        folder: `siren_<mnist|fashion|cifar>_wts`.
        image_dataset: name of the images; None: as the folder's name says.
        num_augmented: re-fits `aug0`, `aug1`, ... of every training image, read as further views.
        split_points: training images are those before the first, validation images those before
            the second, test images those before the third.
    """

    folder: str | Path
    image_dataset: str | None = None
    num_augmented: Count = 0
    split_points: Sequence[int] = (45_000, 50_000, 60_000)

    format = "nfn"
    architecture = INRArchitecture("nfn")

    def __post_init__(self):
        object.__setattr__(self, "split_points", tuple(self.split_points))

    @property
    def dataset(self) -> str:
        """Name of the images.

        Raises:
            NNGraphsError: it is neither given, nor part of the folder's name, or is unknown.
        """
        if self.image_dataset in IMAGE_SIZES:
            return self.image_dataset
        named = re.fullmatch(r"siren_(\w+?)_wts", Path(self.folder).name)
        if self.image_dataset is None and named and named[1] in DATASETS:
            return DATASETS[named[1]]
        raise NNGraphsError(
            f"read {self.folder} as SIRENs",
            found=f"of which images is not clear: {self.image_dataset or Path(self.folder).name}.",
            do=f"Give image_dataset, one of {', '.join(IMAGE_SIZES)}.",
        )

    @property
    def image_size(self) -> tuple[int, int]:
        return IMAGE_SIZES[self.dataset]

    def list_files(self) -> Listing:
        """The networks of all images, then the re-fits of training images.

        Raises:
            NNGraphsError: the folder is not there, or holds fewer re-fits than are asked for.
        """
        root = Path(self.folder)
        found = pd.DataFrame(_parse(root), columns=["path", "view", "label", "source_id"])
        self._check(root, found)
        is_train = found["source_id"] < self.split_points[0]
        found = found[(found["view"] == 0) | ((found["view"] <= self.num_augmented) & is_train)]
        found = found.sort_values(["view", "source_id", "label"]).reset_index(drop=True)
        named = found["source_id"].notna()
        skips = [
            Skip(root / path, Reason.NAME, "it is not called net<image>.pth.")
            for path in found["path"][~named]
        ]
        return self._listing(root, found[named].astype({"source_id": int}), skips)

    def _check(self, root: Path, found: pd.DataFrame) -> None:
        missing = sorted({*range(self.num_augmented + 1)} - {*found["view"]})
        if missing:
            copy = f"_aug{missing[0] - 1}" if missing[0] else ""
            lacks = f"it holds no networks in randinit_smaller{copy}_<label>s."
            raise NNGraphsError(
                f"read {root} as SIRENs of images with {self.num_augmented} re-fits each",
                found=lacks if root.is_dir() else "there is no such folder.",
                do="Unpack siren_<mnist|fashion|cifar>_wts.tar and give the folder of that name; "
                "ask for as many re-fits as there are.",
            )

    def _listing(self, root: Path, found: pd.DataFrame, skips: list[Skip]) -> Listing:
        keys = ["view", "source_id"]
        is_again = found.duplicated(keys, keep=False)
        is_outside = found["source_id"] >= self.split_points[-1]
        skips += [
            Skip(root / path, Reason.LABEL, f"there are networks of image {image} in two classes.")
            for path, image in zip(
                found["path"][is_again], found["source_id"][is_again], strict=True
            )
        ]
        skips += [
            Skip(root / path, Reason.OUTSIDE, f"its image is beyond {self.split_points[-1] - 1:,}.")
            for path in found["path"][is_outside & ~is_again]
        ]
        skips += _gaps(root, found, self.split_points[-1])
        kept = found[~is_again & ~is_outside].reset_index(drop=True)
        places = np.searchsorted(self.split_points, kept["source_id"], side="right")
        table = kept.assign(split=np.array(SPLITS, dtype=object)[places])
        return Listing([root / path for path in kept["path"]], table, tuple(skips))

    def options(self) -> dict:
        return {"num_augmented": self.num_augmented, "split_points": list(self.split_points)}


def _parse(root: Path) -> Iterator[tuple[str, int, int, int | None]]:
    """Path, view, label and image number of the files in folders of known names."""
    for path in relative_paths(root, "randinit_smaller_*/*.pth"):
        folder, _, file = path.partition("/")
        of_folder, of_file = FOLDER.fullmatch(folder), FILE.fullmatch(file)
        if of_folder:
            copy, label = of_folder.groups()
            view = 0 if copy is None else int(copy) + 1
            yield path, view, int(label), int(of_file[1]) if of_file else None


def _gaps(root: Path, found: pd.DataFrame, stop: int) -> list[Skip]:
    """Image numbers below the largest, and below `stop`, that no network of view 0 has."""
    there = set(found["source_id"][found["view"] == 0])
    return [
        Skip(root / f"net{image}.pth", Reason.MISSING, "no class has a network of this image.")
        for image in range(min(max(there, default=0), stop))
        if image not in there
    ]
