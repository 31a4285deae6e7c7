"""Files of networks into a zoo, one by one: parsed, checked, and collected or left out."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.progress import progress_bar
from nn_graphs.zoos.readers.ahead import read_ahead, read_bytes
from nn_graphs.zoos.readers.architectures import (
    Architecture,
    MixedArchitecture,
    Shapes,
    StateFlattener,
)
from nn_graphs.zoos.readers.checkpoints import Checkpoint
from nn_graphs.zoos.readers.collecting import Collection
from nn_graphs.zoos.readers.files import AnyPath
from nn_graphs.zoos.readers.listing import FileSource, Listing
from nn_graphs.zoos.readers.report import (
    ReadReport,
    Reason,
    Skip,
    Skipped,
    check_skips,
)
from nn_graphs.zoos.zoo import Zoo

NUM_PROBED = 5  # files that say what the architecture is
FIRST_COLUMNS = ["label", "split", "run", "view", "source_id"]
Row = Mapping[str, Any]  # of a listing's table


def read_files(
    source: FileSource,
    architecture: Architecture,
    *,
    num_workers: int,
    strict: bool,
    scratch: Path | None,
) -> tuple[Zoo, ReadReport]:
    """The networks in the files of a source, and what was left out; see `reading.read_zoo`."""
    listing = source.list_files()
    asked = f"read {source.folder} as a zoo ({source.format})"
    check_skips(asked, listing.skips, is_fatal=strict or not listing.paths)
    find_flattener = _flatteners(architecture, lambda: _common_shapes(asked, source, listing))
    reading = _Reading(listing, find_flattener, scratch)
    with progress_bar(len(listing.paths), unit="files", description="reading networks") as bar:
        for number, content in enumerate(read_ahead(listing.paths, num_workers)):
            skip = reading.take(number, partial(_parse, source, listing.paths[number], content))
            if skip is not None:
                check_skips(asked, [skip], is_fatal=strict)
            bar.advance(1)
    report = reading.report()
    check_skips(asked, report.skips, is_fatal=report.num_read == 0)
    networks = reading.networks
    return Zoo(networks.specs, networks.params(), reading.table()), report


class _Reading:
    """The networks that were read so far."""

    def __init__(
        self,
        listing: Listing,
        find_flattener: Callable[[Checkpoint, Row], StateFlattener],
        scratch: Path | None,
    ):
        self._listing, self._find_flattener = listing, find_flattener
        self.networks = Collection(scratch)
        self._rows = listing.table.to_dict("records")
        self._numbers: list[int] = []  # places in the listing of what was read
        self._own: list[Mapping[str, Any]] = []  # what their files say of themselves
        self._skips = list(listing.skips)

    def take(self, number: int, parse: Callable[[], Checkpoint]) -> Skip | None:
        """Adds the network of file `number`, or says why not."""
        row = self._rows[number]
        try:
            checkpoint = parse()
            flatten = self._find_flattener(checkpoint, row)
            params = flatten(checkpoint.state)
            if not params.isfinite().all():
                raise Skipped(Reason.NOT_FINITE, _describe_bad(params, flatten))
            own = self._own_columns(checkpoint, row)
        except Skipped as error:
            skip = Skip(self._listing.paths[number], error.reason, error.detail)
            self._skips.append(skip)
            return skip
        self.networks.add(flatten.spec, params)
        self._numbers.append(number)
        self._own.append(own)
        return None

    def _own_columns(self, checkpoint: Checkpoint, row: Row) -> Mapping[str, Any]:
        """What a file says of itself; it must agree with what its listing says."""
        read = self._listing.read_columns
        own = {} if read is None else read(checkpoint)
        for name, value in own.items():
            if name in row and not _is_same(row[name], value):
                raise Skipped(
                    Reason.LABEL, f"its {name} is {value}, in the split file {row[name]}."
                )
        return own

    def table(self) -> pd.DataFrame:
        """The rows of what was read; where runs are not known, every network is one of its own."""
        table = self._listing.table.iloc[self._numbers].reset_index(drop=True)
        own = pd.DataFrame(self._own, index=table.index)
        table = table.assign(**{name: own[name] for name in own})
        if "run" not in table:
            table["run"] = np.arange(len(table))
        first = [column for column in FIRST_COLUMNS if column in table]
        table = table[[*first, *(column for column in table if column not in first)]]
        return table.join(self.networks.places())

    def report(self) -> ReadReport:
        return ReadReport(len(self._numbers), tuple(self._skips))


def _is_same(listed: Any, own: Any) -> bool:
    """Whether two values agree; real numbers may be rounded."""
    if isinstance(own, float):
        return math.isclose(listed, own, abs_tol=1e-6)
    return listed == own


def _flatteners(
    architecture: Architecture, read_shapes: Callable[[], Shapes]
) -> Callable[[Checkpoint, Row], StateFlattener]:
    """Which flattener is for a file."""
    if not isinstance(architecture, MixedArchitecture):
        flatten = StateFlattener.of(architecture, read_shapes)
        return lambda checkpoint, row: flatten
    known: dict[NetworkSpec, StateFlattener] = {}

    def find(checkpoint: Checkpoint, row: Row) -> StateFlattener:
        spec = architecture.make_spec(checkpoint, row)
        return known.setdefault(spec, StateFlattener(spec))

    return find


def _parse(source: FileSource, path: AnyPath, content: bytes | OSError) -> Checkpoint:
    if isinstance(content, OSError):
        raise Skipped(Reason.DAMAGED, f"it cannot be read ({content.strerror or content}).")
    return source.parse(content, path.suffix)


def _common_shapes(asked: str, source: FileSource, listing: Listing) -> Shapes:
    """The shapes of the tensors of a file, the most common among a few files."""
    found: Counter[tuple[tuple[str, tuple[int, ...]], ...]] = Counter()
    skips = []
    for path in _spread(listing.paths):
        try:
            state = _parse(source, path, read_bytes(path)).state
            found[tuple((name, tuple(tensor.shape)) for name, tensor in state.items())] += 1
        except Skipped as error:
            skips.append(Skip(path, error.reason, error.detail))
        if found.total() == NUM_PROBED:
            break
    check_skips(asked, [*listing.skips, *skips], is_fatal=not found)
    return dict(found.most_common(1)[0][0])


def _spread(paths: Sequence[AnyPath]) -> Iterable[AnyPath]:
    """All paths, such that the first few lie far from each other."""
    step = -(-len(paths) // NUM_PROBED)
    return (paths[place] for start in range(step) for place in range(start, len(paths), step))


def _describe_bad(params: Float[Tensor, "num_params"], flatten: StateFlattener) -> str:
    places = (~params.isfinite()).nonzero().flatten()
    slots = flatten.spec.parameters.slots
    slot = next(slot for slot in slots if places[0] < slot.offset + slot.size)
    return f"{len(places)} of its weights are NaN or infinite, the first in {slot.name}."
