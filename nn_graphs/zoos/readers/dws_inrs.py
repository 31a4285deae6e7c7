"""The INR zoos of Navon et al., ICML 2023 ("DWSNets"): INRs of MNIST and of Fashion-MNIST.

MNIST: `mnist-inrs/mnist_png_<training|testing>_<label>_<image>/<folder>/<file>.pth`, split by
`mnist_splits.json`. Fashion-MNIST: `fmnist_inrs/<train|test>/model_<image>.pth`, with the label in
the file, split by `splits.json` or by `fmnist_splits.json`, which Kofinas et al. made of it. All
are INRs 2-32-32-1 of the preset `dws`, with the keys `seq.<layer>.weight` and `.bias`. The image
numbers count training and test images each from 0; a zoo's `source_id` counts them in one go.
"""

from abc import ABC
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import pandas as pd
from torch import Tensor

from nn_graphs.zoos.readers.checkpoints import Checkpoint
from nn_graphs.zoos.readers.given_architectures import INRArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skip, Skipped
from nn_graphs.zoos.readers.source_files import find_root, relative_paths
from nn_graphs.zoos.readers.sources import FileSource, Listing, list_named_files
from nn_graphs.zoos.splits import find_splits, read_splits

NUM_TRAIN_IMAGES = 60_000  # of MNIST as of Fashion-MNIST
COLUMNS = ["path", "label", "split", "view", "source_id"]


@dataclass(frozen=True)
class _DWSSource(FileSource, ABC):
    """What both have in common."""

    folder: str | Path
    splits: str | Path | None = None

    image_size = (28, 28)
    architecture = INRArchitecture("dws")
    layout: ClassVar["_Layout"]

    def options(self) -> dict:
        return {"splits": None if self.splits is None else Path(self.splits).name}

    def _named(self) -> tuple[Path, pd.DataFrame, list[Skip]]:
        """The folder of the files; the rows of the split file, with `view`, `source_id` and
        `folder_label` from their paths; and skips of those whose path could not be taken apart.
        """
        layout = self.layout
        root = find_root(
            self.folder,
            asked=f"read {self.folder} as INRs of {layout.title}",
            inside=layout.inside,
            archive=f"{layout.folder}.zip",
            child=layout.folder,
        )
        splits = find_splits(self.splits, root, layout.split_files)
        names = read_splits(splits, num_parts=layout.num_parts)
        fields = names["path"].str.extract(layout.path)
        is_known = fields["image"].notna()
        skips = [
            Skip(root / path, Reason.NAME, "its name says no image number.")
            for path in names["path"][~is_known]
        ]
        named, fields = names[is_known], fields[is_known]
        is_test = fields["part"].str.startswith("test")
        source = fields["image"].astype(int) + NUM_TRAIN_IMAGES * is_test.astype(int)
        return root, named.assign(view=0, source_id=source, folder_label=fields.get("label")), skips


class _Layout(NamedTuple):
    """How files of one of them are called; `path` has groups `part`, `image` and maybe `label`,
    and is that of the last `num_parts` parts.
    """

    title: str
    folder: str
    inside: str
    split_files: tuple[str, ...]
    path: str
    num_parts: int


@dataclass(frozen=True)
class DWSMnist(_DWSSource):
    """The INRs of MNIST.

    Attributes:
        folder: `mnist-inrs`, or the folder that holds it.
        splits: the split file; None: `mnist_splits.json` in `mnist-inrs` or beside it.
    """

    format = "dws_mnist"
    dataset = "mnist"
    layout = _Layout(
        title="MNIST",
        folder="mnist-inrs",
        inside="mnist_png_*",
        split_files=("mnist_splits.json",),
        path=r"^mnist_png_(?P<part>training|testing)_(?P<label>\d+)_(?P<image>\d+)/[^/]+/[^/]+$",
        num_parts=3,
    )

    def list_files(self) -> Listing:
        """The files that the split file names; labels must agree with the folders' names.

        Raises:
            NNGraphsError: the folder or the split file is not there, or makes no sense.
        """
        root, named, skips = self._named()
        label = named["folder_label"].astype(int)
        if "label" in named:
            is_other = label != named["label"]
            skips += [
                Skip(
                    root / path,
                    Reason.LABEL,
                    f"its label is {listed} in the split file, {own} in its folder's name.",
                )
                for path, listed, own in zip(
                    named["path"][is_other],
                    named["label"][is_other],
                    label[is_other],
                    strict=True,
                )
            ]
            named, label = named[~is_other], label[~is_other]
        on_disk = relative_paths(root, "mnist_png_*/*/*.pth")
        return list_named_files(root, named.assign(label=label)[COLUMNS], on_disk, skips=skips)


@dataclass(frozen=True)
class DWSFashionMnist(_DWSSource):
    """The INRs of Fashion-MNIST.

    Attributes:
        folder: `fmnist_inrs`, or the folder that holds it.
        splits: the split file; None: `splits.json` or `fmnist_splits.json`, in `fmnist_inrs` or
            beside it.
    """

    format = "dws_fashion_mnist"
    dataset = "fashion_mnist"
    layout = _Layout(
        title="Fashion-MNIST",
        folder="fmnist_inrs",
        inside="train/model_*.pth",
        split_files=("splits.json", "fmnist_splits.json"),
        path=r"^(?P<part>train|test)/model_(?P<image>\d+)\.pth$",
        num_parts=2,
    )

    def list_files(self) -> Listing:
        """The files that the split file names; their labels are in the files.

        Raises:
            NNGraphsError: the folder or the split file is not there, or makes no sense.
        """
        root, named, skips = self._named()
        named = named[[column for column in COLUMNS if column in named]]
        on_disk = [*relative_paths(root, "train/*.pth"), *relative_paths(root, "test/*.pth")]
        listing = list_named_files(root, named, on_disk, skips=skips)
        return Listing(listing.paths, listing.table, listing.skips, _read_label)


def _read_label(checkpoint: Checkpoint) -> dict[str, int]:
    """The label that a file of Fashion-MNIST holds beside its weights."""
    value = checkpoint.entries.get("label")
    if isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point():
        value = value.item()
    if not isinstance(value, int):
        raise Skipped(Reason.LABEL, f"its entry label is {value!r}.")
    return {"label": value}
