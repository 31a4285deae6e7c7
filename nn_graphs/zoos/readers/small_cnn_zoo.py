"""The Small CNN Zoo of Unterthiner et al., 2020: CNNs of CIFAR-10, SVHN, MNIST and Fashion-MNIST.

A folder holds `weights.npy` (float32, a row of 4,970 numbers per checkpoint), `layout.csv` (which
columns are which tensor, in TensorFlow's order) and `metrics.csv.gz` (a row per checkpoint: how the
network was trained, and how well it does). The columns `varname`, `start_idx`, `end_idx` and
`shape` of the layout are read as data; `shape` is a tuple in a string.

Splits are those of Zhou et al., 2023 ("NFN"), as Kofinas et al., 2024, use them: their split file
is an order of all rows; of the networks' last checkpoints in that order the second half is test,
the first half is shuffled by `random.Random(0)` and divided 80 to 20 into train and val. Their file
for CIFAR-10 begins with a header `0` that is read as a number, so row 0 is in it twice; here every
row counts once, which changes nothing, as row 0 is no last checkpoint.

All rows stay on disk but those that are asked for, which are read once, in order.
"""

import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int

from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.progress import progress_bar
from nn_graphs.ranges import Count, in_ranges
from nn_graphs.zoos.readers.keras_layout import torch_columns
from nn_graphs.zoos.readers.network_collection import Collection
from nn_graphs.zoos.readers.read_report import ReadReport, Reason, Skip
from nn_graphs.zoos.readers.sources import Listing, RowSource
from nn_graphs.zoos.splits import find_splits
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)
LAST_STEP = 86
FILES = ("weights.npy", "layout.csv", "metrics.csv.gz")
CHECKPOINT = r"/permanent_ckpt-\d+/?$"  # may stand behind the folder of a network
ACTIVATIONS = ("relu", "tanh")
NAMES = {
    "cifar10": "cifar10",
    "svhn_cropped": "svhn",
    "svhn": "svhn",
    "mnist": "mnist",
    "fashion_mnist": "fashion_mnist",
}  # what the publishers call their folders, and what their split files
BLOCK_ROWS = 1024
SCORES = ("test_loss", "train_accuracy", "train_loss")
CONFIGS = (
    "b_init",
    "dropout",
    "init_std",
    "l2reg",
    "learning_rate",
    "optimizer",
    "train_fraction",
    "w_init",
)


@in_ranges
@dataclass(frozen=True)
class SmallCNNZoo(RowSource):
    """The networks trained on one data set; the label is their accuracy on test images.

    Attributes:
        folder: with `weights.npy`, `layout.csv` and `metrics.csv.gz`.
        image_dataset: `cifar10`, `svhn`, `mnist` or `fashion_mnist`; None: as the folder is called.
        splits: the split file; None: `<data set>_split.csv`, alone or with `nfn_` before it, in the
            folder or beside it.
        activation: read only networks with `relu` or only those with `tanh`; None: both.
        steps: epochs of the checkpoints to read; all checkpoints of a network are in the split of
            its last one.
        diverged: networks with NaN or infinite weights, or without an accuracy, are dropped or
            kept; both are counted. The splits are as published either way.
    """

    folder: str | Path
    image_dataset: str | None = None
    splits: str | Path | None = None
    activation: Literal["relu", "tanh"] | None = None
    steps: Sequence[Count] = (LAST_STEP,)
    diverged: Literal["drop", "keep"] = "drop"

    format = "small_cnn_zoo"
    image_size = None
    architecture = None

    def __post_init__(self):
        object.__setattr__(self, "steps", tuple(self.steps))

    @property
    def dataset(self) -> str:
        """Name of the images that the networks classify.

        Raises:
            NNGraphsError: it is neither given, nor what a folder of the path is called.
        """
        names = [self.image_dataset, *reversed(Path(self.folder).parts)]
        found = [NAMES[name] for name in names if name in NAMES]
        if found and (self.image_dataset is None or self.image_dataset in NAMES):
            return found[0]
        raise NNGraphsError(
            f"read {self.folder} as a Small CNN Zoo",
            found=f"of which images is not clear: {self.image_dataset or Path(self.folder).name}.",
            do=f"Give image_dataset, one of {', '.join(sorted({*NAMES.values()}))}.",
        )

    def options(self) -> dict:
        return {
            "splits": None if self.splits is None else Path(self.splits).name,
            "activation": self.activation,
            "steps": list(self.steps),
            "diverged": self.diverged,
        }

    def list_files(self) -> Listing:
        """The files of all networks, and the split file.

        Raises:
            NNGraphsError: there is no split file.
        """
        root = Path(self.folder)
        paths = [*(root / name for name in FILES if (root / name).exists()), self._find_splits()]
        return Listing(paths, pd.DataFrame({"path": [path.name for path in paths]}))

    def _find_splits(self) -> Path:
        name = f"{self.dataset}_split.csv"
        return find_splits(self.splits, self.folder, [f"nfn_{name}", name])

    def read(self, *, scratch: str | Path | None) -> tuple[Zoo, ReadReport]:
        """The networks of the chosen checkpoints.

        Raises:
            NNGraphsError: a file is missing, makes no sense, or does not fit the others.
        """
        root = Path(self.folder)
        if not (root / "weights.npy").is_file():
            raise NNGraphsError(
                f"read {root} as a Small CNN Zoo",
                found="it holds no weights.npy." if root.is_dir() else "there is no such folder.",
                do="Give the folder that the publisher's archive is unpacked to.",
            )
        weights, metrics = _open_weights(root), _read_metrics(root)
        if len(weights) != len(metrics):
            raise _bad_file(
                root / "metrics.csv.gz",
                f"it has {len(metrics):,} rows, {root / 'weights.npy'} has {len(weights):,}.",
            )
        specs = [small_cnn_zoo_spec(activation) for activation in ACTIVATIONS]
        columns = torch_columns(root / "layout.csv", specs[0], num_columns=weights.shape[1])
        chosen = self._choose(self._split(root, metrics))
        reading = _Reading(root, weights, columns, self.diverged, Collection(scratch))
        with progress_bar(len(chosen), unit="networks", description="reading networks") as bar:
            for spec, activation in zip(specs, ACTIVATIONS, strict=True):
                rows = chosen.index[chosen["activation"] == activation].to_numpy()
                for start in range(0, len(rows), BLOCK_ROWS):
                    block = rows[start : start + BLOCK_ROWS]
                    reading.take(spec, block, chosen["label"].loc[block].to_numpy())
                    bar.advance(len(block))
        return reading.zoo(chosen), reading.report()

    def _split(self, root: Path, metrics: pd.DataFrame) -> pd.DataFrame:
        """The columns `run`, and `split`: that of a network's last checkpoint; "" where none is."""
        path = self._find_splits()
        order = _read_order(path, num_rows=len(metrics))
        last = order[metrics["step"].to_numpy()[order] == LAST_STEP]
        by_row = pd.Series(split_names(len(last)), index=last)
        if not metrics["run"].loc[last].duplicated().any():
            by_run = by_row.set_axis(metrics["run"].loc[last])
            return metrics.assign(split=metrics["run"].map(by_run).fillna(""))
        if self.steps != (LAST_STEP,):
            raise _bad_file(
                root / "metrics.csv.gz",
                f"some networks in its column modeldir have two checkpoints of step {LAST_STEP}, "
                "so that other steps belong to no split.",
            )
        logger.warning("%s does not tell networks apart; each is a run of its own.", root)
        rows = pd.Series(metrics.index, index=metrics.index)
        return metrics.assign(run=rows, split=rows.map(by_row).fillna(""))

    def _choose(self, metrics: pd.DataFrame) -> pd.DataFrame:
        """The rows that were asked for, in the order of the file."""
        is_chosen = metrics["step"].isin(self.steps) & (metrics["split"] != "")
        if self.activation is not None:
            is_chosen &= metrics["activation"] == self.activation
        if not is_chosen.any():
            steps = ", ".join(map(str, sorted(set(metrics["step"]))))
            raise NNGraphsError(
                f"read the checkpoints of steps {list(self.steps)} in {self.folder}",
                found=f"none of its {len(metrics):,} rows is one; there are the steps {steps}.",
                do="Choose one of them, and relu, tanh or neither.",
            )
        return metrics[is_chosen]


@dataclass
class _Reading:
    """The networks that were read so far."""

    root: Path
    weights: Float[np.ndarray, "rows columns"]
    columns: Int[np.ndarray, "num_params"]
    diverged: str
    networks: Collection

    def __post_init__(self):
        self._rows: list[np.ndarray] = []
        self._skips: list[Skip] = []
        self._num_kept_diverged = 0

    def take(
        self, spec: NetworkSpec, rows: Int[np.ndarray, "B"], labels: Float[np.ndarray, "B"]
    ) -> None:
        """Adds the networks in these rows, all of one architecture."""
        params = self.weights[rows][:, self.columns]
        is_finite = np.isfinite(params).all(axis=1)
        is_good = is_finite & np.isfinite(labels)
        if self.diverged == "keep":
            self._num_kept_diverged += int((~is_good).sum())
            is_good[:] = True
        for row, has_weights in zip(rows[~is_good], is_finite[~is_good], strict=True):
            reason = Reason.LABEL if has_weights else Reason.NOT_FINITE
            self._skips.append(Skip(self.root / "weights.npy", reason, f"row {row} of it."))
        self.networks.add_many(spec, torch.from_numpy(params[is_good]))
        self._rows.append(rows[is_good])

    def zoo(self, metrics: pd.DataFrame) -> Zoo:
        table = metrics.loc[np.concatenate(self._rows)].reset_index(drop=True)
        networks = self.networks
        return Zoo(networks.specs, networks.params(), table.join(networks.places()))

    def report(self) -> ReadReport:
        return ReadReport(len(self.networks), tuple(self._skips), self._num_kept_diverged)


def split_names(num_networks: int) -> list[str]:
    """The published split of networks in the order of the split file."""
    num_others = num_networks // 2
    others = list(range(num_others))
    random.Random(0).shuffle(others)
    names = ["test"] * num_networks
    num_train = int(0.8 * num_others)
    for place, number in enumerate(others):
        names[number] = "train" if place < num_train else "val"
    return names


def _open_weights(root: Path) -> Float[np.ndarray, "rows columns"]:
    path = root / "weights.npy"
    try:
        weights = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise _bad_file(path, f"it is no array that can be mapped ({error}).") from error
    if weights.ndim != 2 or weights.dtype != np.float32:
        raise _bad_file(path, f"it is {weights.dtype} {list(weights.shape)}, not float32 rows.")
    return weights


def _read_metrics(root: Path) -> pd.DataFrame:
    """A row per checkpoint, with the columns of a zoo's table; `run` is a number."""
    path = root / "metrics.csv.gz"
    needed = ("config.activation", "modeldir", "step", "test_accuracy")
    try:
        metrics = pd.read_csv(path, compression="gzip")
    except (OSError, ValueError, EOFError) as error:
        raise _bad_file(path, f"it is no packed CSV file ({error}).") from error
    missing = [name for name in needed if name not in metrics]
    if missing:
        raise _bad_file(path, f"it has no column {missing[0]}, but {', '.join(metrics)}.")
    activation = metrics["config.activation"]
    strange = set(activation) - set(ACTIVATIONS)
    if strange:
        raise _bad_file(path, f"the activation {strange.pop()!r} is none of its architecture.")
    network = metrics["modeldir"].astype(str).str.replace(CHECKPOINT, "", regex=True)
    table = {
        "label": metrics["test_accuracy"].astype(float),
        "run": pd.factorize(network)[0],
        "step": metrics["step"],
        "activation": activation,
    }
    table |= {name: metrics[name] for name in SCORES if name in metrics}
    table |= {name: metrics[f"config.{name}"] for name in CONFIGS if f"config.{name}" in metrics}
    return _without_missing(pd.DataFrame(table))


def _without_missing(table: pd.DataFrame) -> pd.DataFrame:
    strings = table.select_dtypes(exclude=["number", "bool"]).columns
    return table.assign(**{name: table[name].fillna("").astype(str) for name in strings})


def _read_order(path: Path, *, num_rows: int) -> Int[np.ndarray, "rows"]:
    """Row numbers in the order of a split file, each once."""
    try:
        numbers = pd.read_csv(path, header=None).to_numpy(dtype=np.int64).reshape(-1)
    except (OSError, ValueError) as error:
        raise _bad_file(path, f"it is no list of row numbers ({error}).") from error
    order = pd.unique(numbers)
    is_inside: Bool[np.ndarray, rows] = (order >= 0) & (order < num_rows)
    if not is_inside.all() or len(order) != num_rows:
        raise _bad_file(
            path,
            f"it has {len(order):,} different numbers up to {order.max():,}, for {num_rows:,} rows "
            "of weights.",
        )
    return order


def _bad_file(path: Path, found: str) -> NNGraphsError:
    return NNGraphsError(
        f"read {path} of a Small CNN Zoo",
        found=found,
        do="Unpack the publisher's archive again, and take the split file of the same data set.",
    )
