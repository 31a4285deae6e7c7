"""Files of a published zoo into one `Zoo`: read once, checked one by one, never run."""

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.architecture_specs import AnySpec
from nn_graphs.progress import progress_bar
from nn_graphs.records import as_json_data
from nn_graphs.zoos.duplicates import count_duplicates, warn_of_duplicates
from nn_graphs.zoos.readers.checkpoints import Checkpoint
from nn_graphs.zoos.readers.dws_inrs import DWSFashionMnist, DWSMnist
from nn_graphs.zoos.readers.given_architectures import (
    Architecture,
    INRArchitecture,
    MixedArchitecture,
    StateFlattener,
    describe,
)
from nn_graphs.zoos.readers.labelled_folder import Folder
from nn_graphs.zoos.readers.layer_order import Shapes
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.module_choice import ModuleChoice
from nn_graphs.zoos.readers.network_collection import Collection
from nn_graphs.zoos.readers.nfn_sirens import NFNSirens
from nn_graphs.zoos.readers.read_report import (
    ADVICE,
    ReadReport,
    Reason,
    Skip,
    Skipped,
    check_skips,
    summary,
)
from nn_graphs.zoos.readers.small_cnn_zoo import SmallCNNZoo
from nn_graphs.zoos.readers.source_contents import (
    content_fingerprint,
    find_change,
    record_contents,
)
from nn_graphs.zoos.readers.source_files import read_ahead, read_bytes
from nn_graphs.zoos.readers.sources import FileSource, Listing, RowSource, ZooSource
from nn_graphs.zoos.readers.weight_names import check_one_network, may_be_transposed
from nn_graphs.zoos.readers.wild_park import WildPark
from nn_graphs.zoos.recipes import open_zoo_made_by
from nn_graphs.zoos.storage import check_place
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)
SOURCES = (DWSMnist, DWSFashionMnist, NFNSirens, SmallCNNZoo, WildPark, Folder)
FORMATS = {source.format: source for source in SOURCES}
"""The layouts of files that can be read, by name."""

NUM_PROBED = 5  # files that say what the architecture is
FIRST_COLUMNS = ["label", "split", "run", "view", "source_id"]
Row = Mapping[str, Any]  # of a listing's table


def read_zoo(
    source: ZooSource,
    *,
    architecture: Architecture | str | None = None,
    num_workers: int = 4,
    strict: bool = False,
    scratch: str | Path | None = None,
) -> tuple[Zoo, ReadReport]:
    """The networks in the files of a published zoo.

    Weights become float32, whatever they were stored as.

    Args:
        source: where the files are, and how they are laid out; see `readers.formats`.
        architecture: of the networks; None: as the source has it; a name is that of an INR preset.
        num_workers: threads that read ahead.
        strict: raise where any file cannot be used.
        scratch: folder of an unnamed file that the weights are gathered in; None: the system's.

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
    if isinstance(source, RowSource):
        zoo, report = source.read(scratch=scratch)
        asked = f"read {source.folder} as a zoo ({source.format})"
        check_skips(asked, report.skips, is_fatal=strict or report.num_read == 0)
        zoo = replace(zoo, metadata={"files": record_contents(source.list_files())})
    else:
        zoo, report = read_files(
            source, architecture, num_workers=num_workers, strict=strict, scratch=scratch
        )
    _log(report)
    metadata = {
        **zoo.metadata,
        "maker": "reader",
        "recipe": _recipe(source, architecture),
        "report": report.metadata(),
        **({"image_size": list(source.image_size)} if source.image_size else {}),
    }
    duplicates = count_duplicates(zoo)
    warn_of_duplicates(duplicates, name=str(source.folder))
    if duplicates:
        metadata["duplicates"] = duplicates
    return Zoo(zoo.specs, zoo.params, zoo.table, metadata), report


def open_or_read_zoo(
    source: ZooSource,
    path: str | Path,
    *,
    architecture: Architecture | str | None = None,
    num_workers: int = 4,
    strict: bool = False,
) -> Zoo:
    """The zoo at `path`, which is first read from the files of `source` where it is missing.

    Once it is there, the files are needed no more, but where they are there, they must not have
    changed. Where files were left out, `<path>.skipped.csv`
    says which and why. See `read_zoo` for the arguments.

    Raises:
        NNGraphsError: the zoo that is there was read from another source, or the files or the
            module have changed since; there can be no file at `path`; or as `read_zoo`.
    """
    path = Path(path)
    if not path.exists():
        check_place(path)
        zoo, report = read_zoo(
            source,
            architecture=architecture,
            num_workers=num_workers,
            strict=strict,
            scratch=next(folder for folder in path.absolute().parents if folder.exists()),
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if report.skips:
            skipped = path.with_name(f"{path.name}.skipped.csv")
            report.table().to_csv(skipped, index=False)
            logger.warning("All files that were skipped: %s", skipped)
        zoo.save(path)
        return Zoo.open(path)
    chosen = _choose_architecture(source, architecture)
    zoo = open_zoo_made_by(_recipe(source, chosen), path)
    _check_contents(zoo, source, path)
    if isinstance(chosen, ModuleArchitecture | ModuleChoice):
        _check_modules(zoo, chosen, path)
    warn_of_duplicates(zoo.metadata.get("duplicates", {}), name=str(path))
    logger.info("%s: %s", path, summary(zoo.metadata["report"]))
    return zoo


def _check_contents(zoo: Zoo, source: ZooSource, path: Path) -> None:
    """Makes sure that the files of a source, if they are still there, are those of the zoo.

    Raises:
        NNGraphsError: labels, or files, have changed since the zoo was read.
    """
    recorded = zoo.metadata.get("files")
    if recorded is None or not Path(source.folder).exists():
        return
    try:
        listing = source.list_files()
    except NNGraphsError as error:
        logger.warning("%s is not compared with the files it was read from: %s", path, error)
        return
    if not listing.paths:  # the files are needed no more
        return
    change = find_change(recorded, listing)
    if change is not None:
        raise NNGraphsError(
            f"use {path} for the files in {source.folder}",
            found=f"{change} since it was read from them.",
            do="Delete it to read them again, or give another path.",
        )


def _check_modules(zoo: Zoo, architecture: ModuleArchitecture | ModuleChoice, path: Path) -> None:
    """Makes sure that modules, if they can still be made, are what the zoo was read by.

    Raises:
        NNGraphsError: one has changed since.
    """
    modules = architecture.modules if isinstance(architecture, ModuleChoice) else (architecture,)
    try:
        specs = [module.make_spec()[0] for module in modules]
    except NNGraphsError as error:
        logger.warning("%s is not compared with its module: %s", path, error)
        return
    if not set(zoo.specs) <= set(specs):
        raise NNGraphsError(
            f"use {path} for networks like {', '.join(module.target for module in modules)}",
            found="the module has another architecture than when it was read.",
            do="Delete it to read the files again, or give another path.",
        )


def _choose_architecture(
    source: ZooSource, architecture: Architecture | str | None
) -> Architecture | None:
    """What is given, else what the source has; None: the source knows by itself."""
    if isinstance(source, RowSource):
        if architecture is not None:
            raise NNGraphsError(
                f"read {source.folder} as a zoo ({source.format})",
                found="an architecture is given, and the files are all of a known one.",
                do="Leave it out.",
            )
        return None
    chosen = architecture if architecture is not None else source.architecture
    if isinstance(chosen, str):
        return INRArchitecture(chosen)
    if chosen is None:
        raise NNGraphsError(
            f"read {source.folder} as a zoo ({source.format})",
            found="the architecture of its networks is not given.",
            do="Give the name of an INR preset, a NetworkSpec, or a torch module.",
        )
    return chosen


def _recipe(source: ZooSource, architecture: Architecture | None) -> dict:
    """What a zoo that was read depends on, as JSON data."""
    recipe = {
        "format": source.format,
        "dataset": source.dataset,
        **source.options(),
    }
    if architecture is not None:
        recipe["architecture"] = describe(architecture)
    if isinstance(architecture, INRArchitecture):
        recipe["preset"] = architecture.preset
    return as_json_data(recipe)


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


def read_files(
    source: FileSource,
    architecture: Architecture,
    *,
    num_workers: int,
    strict: bool,
    scratch: str | Path | None,
) -> tuple[Zoo, ReadReport]:
    """The networks in the files of a source, and what was left out; see `read_zoo`."""
    listing = source.list_files()
    asked = f"read {source.folder} as a zoo ({source.format})"
    check_skips(asked, listing.skips, is_fatal=strict or not listing.paths)
    find_flattener = _flatteners(architecture, lambda: _common_shapes(asked, source, listing))
    reading = _Reading(listing, find_flattener, scratch)
    fingerprints = []
    with progress_bar(len(listing.paths), unit="files", description="reading networks") as bar:
        last: bytes | OSError | None = None
        for number, content in enumerate(read_ahead(listing.paths, num_workers)):
            is_again = content is last  # another network of the same file
            fingerprints.append(fingerprints[-1] if is_again else content_fingerprint(content))
            last = content
            skip = reading.take(number, partial(_parse, source, listing, number, content))
            if skip is not None:
                check_skips(asked, [skip], is_fatal=strict)
            bar.advance(1)
    report = reading.report()
    check_skips(asked, report.skips, is_fatal=report.num_read == 0)
    if source.transposed is None and reading.num_unclear:
        logger.warning(
            "%d networks have square weights alone, not called weight: they are read as [out, in]. "
            "Say by `transposed` whether they are [in, out].",
            reading.num_unclear,
        )
    networks = reading.networks
    files = record_contents(listing, fingerprints)
    return Zoo(networks.specs, networks.params(), reading.table(), {"files": files}), report


class _Reading:
    """The networks that were read so far."""

    def __init__(
        self,
        listing: Listing,
        find_flattener: Callable[[Checkpoint, Row], StateFlattener],
        scratch: str | Path | None,
    ):
        self._listing, self._find_flattener = listing, find_flattener
        self.networks = Collection(scratch)
        self._rows = listing.table.to_dict("records")
        self._numbers: list[int] = []  # places in the listing of what was read
        self._own: list[Mapping[str, Any]] = []  # what their files say of themselves
        self._skips = list(listing.skips)
        self.num_unclear = 0  # networks whose matrices may be [in, out]

    def take(self, number: int, parse: Callable[[], Checkpoint]) -> Skip | None:
        """Adds the network of file `number`, or says why not."""
        row = self._rows[number]
        try:
            checkpoint = parse()
            flatten = self._find_flattener(checkpoint, row)
            params = flatten(checkpoint.state, keeps_order=checkpoint.keeps_order)
            if not params.isfinite().all():
                raise Skipped(Reason.NOT_FINITE, _describe_bad(params, flatten))
            own = self._own_columns(checkpoint, row)
        except Skipped as error:
            skip = Skip(self._listing.paths[number], error.reason, error.detail)
            self._skips.append(skip)
            return skip
        self.networks.add(flatten.spec, params)
        self.num_unclear += may_be_transposed(checkpoint.shapes())
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

        def find_known(checkpoint: Checkpoint, row: Row) -> StateFlattener:
            if not checkpoint.is_chosen and not flatten.knows_names_of(checkpoint.state):
                check_one_network(checkpoint.shapes(), is_expected=True)
            return flatten

        return find_known
    if isinstance(architecture, ModuleChoice):
        return architecture.flattener
    known: dict[AnySpec, StateFlattener] = {}

    def find(checkpoint: Checkpoint, row: Row) -> StateFlattener:
        spec = architecture.make_spec(checkpoint, row)
        return known.setdefault(spec, StateFlattener(spec))

    return find


def _parse(
    source: FileSource, listing: Listing, number: int, content: bytes | OSError
) -> Checkpoint:
    """What file `number` of a listing holds."""
    if isinstance(content, OSError):
        raise Skipped(Reason.DAMAGED, f"it cannot be read ({content.strerror or content}).")
    if "prefix" not in listing.table:
        return source.parse(content, listing.paths[number].suffix)
    row = listing.table.iloc[number].to_dict()
    return source.parse(content, listing.paths[number].suffix, row)


def _common_shapes(asked: str, source: FileSource, listing: Listing) -> Shapes:
    """The shapes of the tensors of a file, the most common among a few files."""
    found: Counter[tuple[tuple[str, tuple[int, ...]], ...]] = Counter()
    skips = []
    for number in _spread(len(listing.paths)):
        path = listing.paths[number]
        try:
            checkpoint = _parse(source, listing, number, read_bytes(path))
            if not checkpoint.is_chosen:
                check_one_network(checkpoint.shapes())
            found[tuple(checkpoint.shapes().items())] += 1
        except Skipped as error:
            skips.append(Skip(path, error.reason, error.detail))
        if found.total() == NUM_PROBED:
            break
    check_skips(asked, [*listing.skips, *skips], is_fatal=not found)
    return dict(found.most_common(1)[0][0])


def _spread(count: int) -> Iterable[int]:
    """All numbers below `count`, such that the first few lie far from each other."""
    step = -(-count // NUM_PROBED)
    return (place for start in range(step) for place in range(start, count, step))


def _describe_bad(params: Float[Tensor, "num_params"], flatten: StateFlattener) -> str:
    places = (~params.isfinite()).nonzero().flatten()
    slots = flatten.spec.parameters.slots
    slot = next(slot for slot in slots if places[0] < slot.offset + slot.size)
    return f"{len(places)} of its weights are NaN or infinite, the first in {slot.name}."
