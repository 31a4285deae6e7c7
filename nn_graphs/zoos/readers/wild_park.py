"""The CNN Wild Park of Kofinas et al., ICLR 2024: CNNs of many architectures, at many epochs.

`cnn_wild_park.zip`, read as it is or unpacked, holds `cifar10_zooV2/<run>/checkpoint_<epoch>/
checkpoint.pt`. A checkpoint is a dictionary: `model` (a state dict with `layers.<l>.weight`, ...,
`fc.weight`, `fc.bias`), `config` (the architecture, an object of OmegaConf), `iteration`,
`last_result` (with the accuracy on test images as `test/acc`) and the optimizer. The architecture
is read without OmegaConf, and no other code of the file runs.

The split file `cnn_park_splits.json` has `path`, `score` and `step` for each split. Where there is
none, runs are divided as its authors' script does, by scikit-learn's `train_test_split` of the
sorted runs with seed 42, once for test and once for val; the shares are ours.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.activations import Activation
from nn_graphs.networks.spec import ConvSpec, NetworkSpec
from nn_graphs.ranges import Seed, Share, in_ranges
from nn_graphs.zoos.readers.checkpoints import Checkpoint, ObjectReader, parse_checkpoint, plain
from nn_graphs.zoos.readers.given_architectures import MixedArchitecture
from nn_graphs.zoos.readers.read_report import Reason, Skipped
from nn_graphs.zoos.readers.source_files import list_files, open_folder
from nn_graphs.zoos.readers.sources import FileSource, Listing, list_named_files
from nn_graphs.zoos.splits import split_by_run, with_known_splits
from nn_graphs.zoos.zoo import SPLITS

SPLIT_FILE = "cnn_park_splits.json"
NUM_PARTS = 3  # of a path that tell a checkpoint: <run>/checkpoint_<epoch>/checkpoint.pt
ACTIVATIONS = {
    "none": "none",
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "tanh": "tanh",
    "sigmoid": "sigmoid",
    "leaky_relu": "leaky_relu",
}  # what configurations call them -> what they are called here
PER_LAYER = ("kernel_size", "stride", "padding", "residual", "activation")


@dataclass(frozen=True)
class WildParkArchitecture(MixedArchitecture):
    """Each checkpoint's own architecture, as its `config` says."""

    def make_spec(self, checkpoint: Checkpoint, row: Mapping[str, Any]) -> NetworkSpec:
        return spec_of_config(plain(checkpoint.entries.get("config")))


def spec_of_config(config: Any) -> NetworkSpec:
    """The architecture that a configuration of the Wild Park describes.

    Raises:
        Skipped: it lacks something, contradicts itself, or has an unknown activation.
    """
    try:
        depth, channels = config["n_layers"], config["channels"]
        values = {name: config[name] for name in PER_LAYER}
        lengths = {name: len(values[name]) for name in PER_LAYER}
        if {len(channels) - 1, *lengths.values()} != {depth}:
            raise Skipped(
                Reason.SHAPE,
                f"its config has n_layers {depth}, {len(channels)} channels and {lengths}.",
            )
        unknown = [name for name in values["activation"] if name not in ACTIVATIONS]
        if unknown:
            raise Skipped(
                Reason.SHAPE,
                f"its activation {unknown[0]!r} is unknown; known are {', '.join(ACTIVATIONS)}.",
            )
        sizes = zip(values["kernel_size"], values["stride"], values["padding"], strict=True)
        return NetworkSpec.cnn(
            tuple(channels),
            convs=[ConvSpec.square(size, stride=step, padding=pad) for size, step, pad in sizes],
            activations=[Activation(ACTIVATIONS[name]) for name in values["activation"]],
            skips=[() if source < 0 else (source + 1,) for source in values["residual"]],
            num_outputs=config["n_classes"],
        )
    except (KeyError, TypeError) as error:
        raise Skipped(Reason.SHAPE, f"its config describes no CNN ({error!r}).") from error
    except NNGraphsError as error:
        raise Skipped(Reason.SHAPE, f"its config describes no CNN: {error.found}") from error


@in_ranges
@dataclass(frozen=True)
class WildPark(FileSource):
    """The checkpoints; the label is their accuracy on the test images of CIFAR-10, 0 to 1.

    Attributes:
        folder: `cnn_wild_park.zip`, or the folder that it is unpacked to.
        splits: the split file; None: `cnn_park_splits.json` in the folder or beside it, or, where
            it is in neither, a split of our own.
        val_share, test_share: of the runs, where the split is our own.
        seed: of that split.
    """

    folder: str | Path
    splits: str | Path | None = None
    val_share: Share = 0.1
    test_share: Share = 0.2
    seed: Seed = 42
    _objects: ObjectReader = field(default_factory=ObjectReader, init=False, repr=False)

    format = "wild_park"
    dataset = "cifar10"
    image_size = None
    architecture = WildParkArchitecture()

    def list_files(self) -> Listing:
        """The checkpoints of the split file, or all.

        Raises:
            NNGraphsError: there are none, or the split file makes no sense.
        """
        asked = f"read {self.folder} as the CNN Wild Park"
        root = open_folder(self.folder, asked=asked)
        on_disk = list_files(root, "*checkpoint.pt")
        if not on_disk:
            raise NNGraphsError(
                asked,
                found="it holds no <run>/checkpoint_<epoch>/checkpoint.pt.",
                do="Give cnn_wild_park.zip, or the folder that it is unpacked to.",
            )
        splits = self._find_splits()
        table = self._split_runs(on_disk) if splits is None else _read_splits(splits, on_disk)
        table["run"] = pd.factorize(table["path"].map(_run_of), sort=True)[0]
        listing = list_named_files(root, table, on_disk)
        read_columns = partial(_read_columns, needs_label=splits is None)
        return Listing(listing.paths, listing.table, listing.skips, read_columns)

    def parse(
        self, content: bytes, suffix: str, row: Mapping[str, Any] | None = None
    ) -> Checkpoint:
        return parse_checkpoint(content, load=self._objects.load)

    def options(self) -> dict:
        splits = self._find_splits()
        if splits is not None:
            return {"splits": splits.name}
        return {"val_share": self.val_share, "test_share": self.test_share, "seed": self.seed}

    def _find_splits(self) -> Path | None:
        root = Path(self.folder)
        if self.splits is not None:
            return Path(self.splits)
        places = (folder / SPLIT_FILE for folder in (root, root.parent))
        return next((path for path in places if path.is_file()), None)

    def _split_runs(self, on_disk: list[str]) -> pd.DataFrame:
        runs = pd.Series([_run_of(path) for path in on_disk])
        split = split_by_run(
            runs, val_share=self.val_share, test_share=self.test_share, seed=self.seed
        )
        return pd.DataFrame({"path": on_disk, "split": split})


def _run_of(path: str) -> str:
    """The training run that a checkpoint is of."""
    return "/".join(PurePosixPath(path).parts[:-2])


def _tail(path: str) -> str:
    return "/".join(PurePosixPath(path).parts[-NUM_PARTS:])


def _read_splits(path: Path, on_disk: list[str]) -> pd.DataFrame:
    """One row per listed checkpoint: `path` (as it is on disk), `split`, `label`, `step`."""
    places = {_tail(name): name for name in on_disk}
    try:
        content = with_known_splits(json.loads(path.read_text(encoding="utf-8")))
        parts = [
            pd.DataFrame({name: content[split][name] for name in ("path", "score", "step")}).assign(
                split=split
            )
            for split in SPLITS
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NNGraphsError(
            f"read the splits in {path}",
            found=f"they are no lists path, score and step under {', '.join(SPLITS)} ({error!r}).",
            do=f"Give {SPLIT_FILE} as its publisher wrote it.",
        ) from error
    table = pd.concat(parts, ignore_index=True).rename(columns={"score": "label"})
    tails = table["path"].map(_tail)
    return table.assign(
        path=tails.map(places).fillna(tails),
        label=table["label"].astype(float),
        step=table["step"].astype(int),
    )


def _read_columns(checkpoint: Checkpoint, *, needs_label: bool) -> dict[str, float | int]:
    """The accuracy and the epoch that a checkpoint holds."""
    entries, found = checkpoint.entries, {}
    result = plain(entries.get("last_result"))
    accuracy = result.get("test/acc") if isinstance(result, dict) else None
    if isinstance(accuracy, float) and math.isfinite(accuracy):
        found["label"] = accuracy
    elif needs_label or accuracy is not None:
        raise Skipped(Reason.LABEL, f"its accuracy last_result['test/acc'] is {accuracy!r}.")
    if isinstance(entries.get("iteration"), int):
        found["step"] = entries["iteration"]
    return found
