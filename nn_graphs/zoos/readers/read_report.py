"""What a reader left out and why: reasons, skipped files, and the report about all of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import pandas as pd

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.readers.source_files import AnyPath


class Reason(Enum):
    """Why a file is no network of the zoo."""

    MISSING = "missing on disk"
    UNLISTED = "on disk but not listed"
    TWICE = "listed twice"
    NAME = "named otherwise"
    OUTSIDE = "outside the published splits"
    DAMAGED = "damaged or unreadable"
    CODE = "in need of code to load"
    SHAPE = "of another architecture"
    LABEL = "without a clear label"
    NOT_FINITE = "with NaN or infinite weights"


ADVICE = {
    Reason.MISSING: "Unpack the archive again, or give the folder that the list belongs to.",
    Reason.UNLISTED: "Add them to the list, or leave them.",
    Reason.TWICE: "List every file once.",
    Reason.NAME: "Give the folder as its publisher packed it.",
    Reason.OUTSIDE: "Give other split points to use them.",
    Reason.DAMAGED: "Unpack or download them again.",
    Reason.CODE: "If you trust their source, load each once with torch.load(path, "
    "weights_only=False) and save its state_dict() alone.",
    Reason.SHAPE: "Describe the architecture by a layer layout, a NetworkSpec or a torch module; "
    "choose one of several networks by its prefix.",
    Reason.LABEL: "Correct the list of labels.",
    Reason.NOT_FINITE: "Leave out networks whose training diverged.",
}
"""What the user can do about files that were left out."""


@dataclass(frozen=True)
class Skip:
    """A file that was left out; `detail` says what exactly was found."""

    path: AnyPath
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}"


class Skipped(Exception):
    """Raised inside the readers where a file cannot be used; becomes a `Skip` of the report."""

    def __init__(self, reason: Reason, detail: str):
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class ReadReport:
    """How a reading went.

    Attributes:
        num_read: networks of the zoo.
        skips: the files that were left out.
        num_diverged: networks with NaN or infinite weights that were kept, as was asked for.
    """

    num_read: int
    skips: tuple[Skip, ...] = ()
    num_diverged: int = 0

    def counts(self) -> dict[str, int]:
        """Numbers of files left out by reason, the most common first."""
        return dict(Counter(skip.reason.value for skip in self.skips).most_common())

    def examples(self) -> dict[Reason, Skip]:
        """The first file left out for each reason."""
        return {skip.reason: skip for skip in reversed(self.skips)}

    def table(self) -> pd.DataFrame:
        """One row per file left out: path, reason, detail."""
        rows = [(str(skip.path), skip.reason.value, skip.detail) for skip in self.skips]
        return pd.DataFrame(rows, columns=["path", "reason", "detail"])

    def metadata(self) -> dict:
        """The report in short, as JSON data; `summary` puts it into words."""
        short = {"read": self.num_read, "skipped": self.counts()}
        return {**short, "diverged": self.num_diverged} if self.num_diverged else short

    def __str__(self) -> str:
        return summary(self.metadata())


def summary(metadata: dict) -> str:
    """A line about `ReadReport.metadata()`: how many were read, left out, and why."""
    counts: dict[str, int] = metadata["skipped"]
    line = f"{metadata['read']:,} networks read, {sum(counts.values()):,} files skipped"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.items())
    line = f"{line} ({reasons})" if reasons else line
    kept = metadata.get("diverged")
    return f"{line}; {kept:,} with NaN or infinite weights kept" if kept else line


def describe_first(skips: Sequence[Skip]) -> str:
    """The first skip with its reason, for an error message."""
    return f"the first is {skips[0].reason.value}: {skips[0]}"


def check_skips(asked: str, skips: Sequence[Skip], *, is_fatal: bool) -> None:
    """Makes sure that nothing was left out that must not be.

    Raises:
        NNGraphsError: something was.
    """
    if not (is_fatal and skips):
        return
    reasons = summary(ReadReport(0, tuple(skips)).metadata()).partition(", ")[2]
    raise NNGraphsError(
        asked, found=f"{reasons}; {describe_first(skips)}", do=ADVICE[skips[0].reason]
    )
