"""Which files a list means: paths of another form, of another machine, or without endings.

A list is often written elsewhere than it is read. Names decide: a path that is there as it stands
means that file. Where no path of a list is, all of them may begin alike with folders that are not
here; where files differ from paths in nothing but an ending, that is it. Two ways to read a list
are an error that shows both.
"""

import logging
import unicodedata
from collections.abc import Iterable, Sequence

from nn_graphs.errors import NNGraphsError
from nn_graphs.zoos.readers.checkpoints import SUFFIXES

logger = logging.getLogger(__name__)


def as_on_disk(paths: Sequence[str], there: Iterable[str]) -> list[str]:
    """The paths of a list as the files are called; those that no file is meant by stay.

    Args:
        paths: relative or absolute, with `/` between folders.
        there: the files of the folder, relative to it.

    Raises:
        NNGraphsError: a path means two files, or the list can be read in two ways.
    """
    called = {unicodedata.normalize("NFC", name): name for name in there}
    known = set(called.values())
    paths = [
        path if path in known else called.get(unicodedata.normalize("NFC", path), path)
        for path in paths
    ]
    endings = _without_endings(known)
    if not any(path in known or path in endings for path in paths):
        paths = _without_other_folders(paths, known | endings.keys())
    return [path if path in known else _with_ending(path, endings) for path in paths]


def _without_endings(known: Iterable[str]) -> dict[str, list[str]]:
    """The files by their paths without the ending of a checkpoint."""
    files: dict[str, list[str]] = {}
    for name in sorted(known):
        if name.lower().endswith(SUFFIXES):
            files.setdefault(name.rpartition(".")[0], []).append(name)
    return files


def _with_ending(path: str, endings: dict[str, list[str]]) -> str:
    files = endings.get(path, [path])
    if len(files) > 1:
        raise NNGraphsError(
            f"read the network {path} of a list",
            found=f"there are {files[0]} and {files[1]}.",
            do="List it with its ending.",
        )
    return files[0]


def _without_other_folders(paths: Sequence[str], known: Iterable[str]) -> list[str]:
    """The paths without the first folders, the same number of each, that are not here."""
    parts, known = [path.split("/") for path in paths], set(known)
    found = {}
    for count in range(1, max(map(len, parts), default=1)):
        shorter = ["/".join(own[count:]) for own in parts]
        if any(path in known for path in shorter) and _begin_alike(parts, count):
            found[count] = shorter
    if len(found) > 1:
        first, second = (shorter[0] for shorter in [*found.values()][:2])
        raise NNGraphsError(
            f"read the network {paths[0]} of a list",
            found=f"it can mean {first} and {second} in this folder.",
            do="Give paths relative to the folder.",
        )
    if not found:
        return [*paths]
    (shorter,) = found.values()
    logger.warning("The list is of another folder: %s is read as %s", paths[0], shorter[0])
    return shorter


def _begin_alike(parts: Sequence[Sequence[str]], count: int) -> bool:
    return len({tuple(own[:count]) for own in parts}) == 1
