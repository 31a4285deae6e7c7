"""Files of a published zoo into one `Zoo`: read once, checked one by one, never run."""

import logging
from pathlib import Path

from nn_graphs.errors import NNGraphsError
from nn_graphs.records import as_json_data
from nn_graphs.zoos.readers.architectures import (
    Architecture,
    INRArchitecture,
    describe,
)
from nn_graphs.zoos.readers.listing import RowSource, ZooSource
from nn_graphs.zoos.readers.reading_files import read_files
from nn_graphs.zoos.readers.report import (
    ADVICE,
    ReadReport,
    check_skips,
    summary,
)
from nn_graphs.zoos.recipes import open_zoo_made_by
from nn_graphs.zoos.storage import check_place
from nn_graphs.zoos.zoo import Zoo

logger = logging.getLogger(__name__)


def read_zoo(
    source: ZooSource,
    *,
    architecture: Architecture | None = None,
    num_workers: int = 4,
    strict: bool = False,
    scratch: Path | None = None,
) -> tuple[Zoo, ReadReport]:
    """The networks in the files of a published zoo.

    Weights become float32, whatever they were stored as.

    Args:
        source: where the files are, and how they are laid out; see `readers.formats`.
        architecture: of the networks; None: as the source has it.
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
    else:
        zoo, report = read_files(
            source, architecture, num_workers=num_workers, strict=strict, scratch=scratch
        )
    _log(report)
    metadata = {
        "maker": "reader",
        "recipe": _recipe(source, architecture),
        "report": report.metadata(),
        **({"image_size": list(source.image_size)} if source.image_size else {}),
    }
    return Zoo(zoo.specs, zoo.params, zoo.table, metadata), report


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
        NNGraphsError: the zoo that is there was read from another source, or there can be no file
            at `path`; or as `read_zoo`.
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
    zoo = open_zoo_made_by(_recipe(source, _choose_architecture(source, architecture)), path)
    logger.info("%s: %s", path, summary(zoo.metadata["report"]))
    return zoo


def _choose_architecture(
    source: ZooSource, architecture: Architecture | None
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
