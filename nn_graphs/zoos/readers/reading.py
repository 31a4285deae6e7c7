"""Files of a published zoo into one `Zoo`: read once, checked one by one, never run.

Threads read the bytes ahead, one thread takes them apart. Torch's restricted unpickler is Python
code, half a millisecond a file: more threads for it are slower, and processes start in as long as
10,000 files take. Reading ahead costs nothing on a warm disk and hides the waits for a cold one.
"""

import json
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import progress_bar
from nn_graphs.zoos.readers.architectures import (
    Architecture,
    INRArchitecture,
    Shapes,
    StateFlattener,
    describe,
)
from nn_graphs.zoos.readers.checkpoints import Checkpoint, parse_checkpoint
from nn_graphs.zoos.readers.listing import Listing, ZooSource
from nn_graphs.zoos.readers.report import (
    ADVICE,
    ReadReport,
    Reason,
    Skip,
    Skipped,
    describe_first,
    summary,
)
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)
NUM_PROBED = 5  # files that say what the architecture is
BLOCK = 16  # files that a thread reads at a time: handing over each by itself costs more
FIRST_COLUMNS = ["label", "split", "run", "view", "source_id"]


def read_zoo(
    source: ZooSource,
    *,
    architecture: Architecture | None = None,
    num_workers: int = 4,
    strict: bool = False,
) -> tuple[Zoo, ReadReport]:
    """The networks in the files of a published zoo.

    Weights become float32, whatever they were stored as.

    Args:
        source: where the files are, and how they are laid out; see `readers.formats`.
        architecture: of the networks; None: as the source has it.
        num_workers: threads that read ahead.
        strict: raise where any file cannot be used.

    Returns:
        The zoo, and what was left out and why. The metadata of the zoo hold that in short.

    Raises:
        NNGraphsError: the files are not laid out so, the architecture is unknown, nothing can be
            read, or, if strict, not all.
    """
    if num_workers < 1:
        raise NNGraphsError(
            f"read files with {num_workers} threads", found="it is none.", do="Use one or more."
        )
    architecture = _choose_architecture(source, architecture)
    listing = source.list_files()
    asked = f"read {source.folder} as a zoo ({source.format})"
    _check_skips(asked, listing.skips, is_fatal=strict or not listing.paths)
    flatten = StateFlattener.of(architecture, lambda: _common_shapes(asked, listing))
    reading = _Reading(listing, flatten)
    with progress_bar(len(listing.paths), unit="files", description="reading networks") as bar:
        for number, content in enumerate(_read_ahead(listing.paths, num_workers)):
            skip = reading.take(number, content)
            if skip is not None:
                _check_skips(asked, [skip], is_fatal=strict)
            bar.advance(1)
    report = reading.report()
    _check_skips(asked, report.skips, is_fatal=report.num_read == 0)
    _log(report)
    metadata = {
        "maker": "reader",
        "recipe": _recipe(source, architecture),
        "report": report.metadata(),
        **({"image_size": list(source.image_size)} if source.image_size else {}),
    }
    return Zoo.single(flatten.spec, reading.params(), reading.table(), metadata), report


def open_or_read_zoo(
    source: ZooSource,
    path: str | Path,
    *,
    architecture: Architecture | None = None,
    num_workers: int = 4,
    strict: bool = False,
) -> Zoo:
    """The zoo at `path`, which is first read from the files of `source` where it is missing.

    Once it is there, the files are needed no more. Where files were left out, `<path>.skipped.csv`
    says which and why. See `read_zoo` for the arguments.

    Raises:
        NNGraphsError: the zoo that is there was read from another source.
    """
    path = Path(path)
    if not path.exists():
        zoo, report = read_zoo(
            source, architecture=architecture, num_workers=num_workers, strict=strict
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if report.skips:
            skipped = path.with_name(f"{path.name}.skipped.csv")
            report.table().to_csv(skipped, index=False)
            logger.warning("All files that were skipped: %s", skipped)
        zoo.save(path)
        return Zoo.open(path)
    zoo = Zoo.open(path)
    wanted = _recipe(source, _choose_architecture(source, architecture))
    found = zoo.metadata.get("recipe")
    if found != wanted:
        raise NNGraphsError(
            f"use {path} for this source",
            found=f"it was made from {found}, not {wanted}.",
            do="Give another path, or delete the file.",
        )
    logger.info("%s: %s", path, summary(zoo.metadata["report"]))
    return zoo


class _Reading:
    """The networks that were read so far."""

    def __init__(self, listing: Listing, flatten: StateFlattener):
        self._listing, self._flatten = listing, flatten
        self._params = torch.empty(len(listing.paths), flatten.spec.num_params)
        self._numbers: list[int] = []  # places in the listing of what was read
        self._labels: list[int] = []
        self._skips = list(listing.skips)

    def take(self, number: int, content: bytes | OSError) -> Skip | None:
        """Adds the network of file `number`, or says why not."""
        path = self._listing.paths[number]
        try:
            checkpoint = _parse(path, content)
            params = self._flatten(checkpoint.state)
            if not params.isfinite().all():
                raise Skipped(Reason.NOT_FINITE, _describe_bad(params, self._flatten))
            label = self._label(number, checkpoint)
        except Skipped as error:
            self._skips.append(Skip(path, error.reason, error.detail))
            return self._skips[-1]
        self._params[len(self._numbers)] = params
        self._numbers.append(number)
        self._labels.append(label)
        return None

    def _label(self, number: int, checkpoint: Checkpoint) -> int:
        """The label in the file, where files hold theirs; it must agree with the listing's."""
        if self._listing.label_key is None:
            return 0
        value = checkpoint.entries.get(self._listing.label_key)
        if isinstance(value, Tensor) and value.ndim == 0 and not value.is_floating_point():
            value = value.item()
        if not isinstance(value, int):
            raise Skipped(Reason.LABEL, f"its entry {self._listing.label_key} is {value!r}.")
        listed = self._listing.table.get("label")
        if listed is not None and listed.iloc[number] != value:
            raise Skipped(
                Reason.LABEL, f"its label is {value}, in the split file {listed.iloc[number]}."
            )
        return value

    def params(self) -> Float[Tensor, "N num_params"]:
        return self._params[: len(self._numbers)]

    def table(self) -> pd.DataFrame:
        """The rows of what was read; where runs are not known, every network is one of its own."""
        table = self._listing.table.iloc[self._numbers].reset_index(drop=True)
        if self._listing.label_key is not None:
            table["label"] = np.array(self._labels, dtype=np.int64)
        if "run" not in table:
            table["run"] = np.arange(len(table))
        first = [column for column in FIRST_COLUMNS if column in table]
        return table[[*first, *(column for column in table if column not in first)]]

    def report(self) -> ReadReport:
        return ReadReport(len(self._numbers), tuple(self._skips))


def _choose_architecture(source: ZooSource, architecture: Architecture | None) -> Architecture:
    chosen = architecture if architecture is not None else source.architecture
    if chosen is None:
        raise NNGraphsError(
            f"read {source.folder} as a zoo ({source.format})",
            found="the architecture of its networks is not given.",
            do="Give the name of an INR preset, a NetworkSpec, or a torch module.",
        )
    return chosen


def _recipe(source: ZooSource, architecture: Architecture) -> dict:
    """What a zoo that was read depends on, as JSON data."""
    recipe = {
        "format": source.format,
        "dataset": source.dataset,
        **source.options(),
        "architecture": describe(architecture),
    }
    if isinstance(architecture, INRArchitecture):
        recipe["preset"] = architecture.preset
    return json.loads(json.dumps(recipe))


def _read_ahead(paths: Sequence[Path], num_workers: int) -> Iterator[bytes | OSError]:
    """The contents of files in order, a block for each thread read ahead."""
    blocks = (paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK))
    with ThreadPoolExecutor(num_workers) as pool:
        futures = deque(pool.submit(_read_block, block) for block in islice(blocks, num_workers))
        while futures:
            contents = futures.popleft().result()
            futures.extend(pool.submit(_read_block, block) for block in islice(blocks, 1))
            yield from contents


def _read_block(paths: Sequence[Path]) -> list[bytes | OSError]:
    return [_read_bytes(path) for path in paths]


def _read_bytes(path: Path) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error


def _parse(path: Path, content: bytes | OSError) -> Checkpoint:
    if isinstance(content, OSError):
        raise Skipped(Reason.DAMAGED, f"it cannot be read ({content.strerror}).")
    return parse_checkpoint(content, is_safetensors=path.suffix == ".safetensors")


def _common_shapes(asked: str, listing: Listing) -> Shapes:
    """The shapes of the tensors of a file, the most common among a few files."""
    found: Counter[tuple[tuple[str, tuple[int, ...]], ...]] = Counter()
    skips = []
    for path in _spread(listing.paths):
        try:
            state = _parse(path, _read_bytes(path)).state
            found[tuple((name, tuple(tensor.shape)) for name, tensor in state.items())] += 1
        except Skipped as error:
            skips.append(Skip(path, error.reason, error.detail))
        if found.total() == NUM_PROBED:
            break
    _check_skips(asked, [*listing.skips, *skips], is_fatal=not found)
    return dict(found.most_common(1)[0][0])


def _spread(paths: Sequence[Path]) -> Iterable[Path]:
    """All paths, such that the first few lie far from each other."""
    step = -(-len(paths) // NUM_PROBED)
    return (paths[place] for start in range(step) for place in range(start, len(paths), step))


def _describe_bad(params: Float[Tensor, "num_params"], flatten: StateFlattener) -> str:
    places = (~params.isfinite()).nonzero().flatten()
    slots = flatten.spec.parameters.slots
    slot = next(slot for slot in slots if places[0] < slot.offset + slot.size)
    return f"{len(places)} of its weights are NaN or infinite, the first in {slot.name}."


def _check_skips(asked: str, skips: Sequence[Skip], *, is_fatal: bool) -> None:
    if not (is_fatal and skips):
        return
    reasons = summary(ReadReport(0, tuple(skips)).metadata()).partition(", ")[2]
    raise NNGraphsError(
        asked, found=f"{reasons}; {describe_first(skips)}", do=ADVICE[skips[0].reason]
    )


def _log(report: ReadReport) -> None:
    counts = report.counts()
    for reason, skip in report.examples().items():
        logger.warning(
            "%d files skipped, %s; the first is %s %s",
            counts[reason.value],
            reason.value,
            skip,
            ADVICE[reason],
        )
    logger.info("%s", report)
