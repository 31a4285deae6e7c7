"""Files in a folder, or in a zip archive that need not be unpacked: both as paths."""

import fnmatch
import zipfile
from pathlib import Path

from nn_graphs.errors import NNGraphsError

AnyPath = Path | zipfile.Path


def open_folder(place: str | Path, *, asked: str) -> AnyPath:
    """A folder, or the top of a zip archive.

    Raises:
        NNGraphsError: it is neither.
    """
    path = Path(place)
    if path.is_dir():
        return path
    if not path.is_file():
        raise NNGraphsError(asked, found="there is no such folder.", do="Check the path.")
    try:
        return zipfile.Path(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise NNGraphsError(
            asked,
            found=f"it is a file of {path.stat().st_size} bytes, but no zip archive ({error}).",
            do="Give a folder or a zip archive, or download it again.",
        ) from error


def list_files(root: AnyPath, pattern: str) -> list[str]:
    """Files of a pattern anywhere under `root`, as sorted paths with slashes; no hidden ones.

    The pattern is for the whole path below `root`, and `*` reaches over slashes.
    """
    if isinstance(root, zipfile.Path):
        start = root.at
        names = [name[len(start) :] for name in root.root.namelist() if name.startswith(start)]
        names = [name for name in names if name and not name.endswith("/")]
    else:
        names = [path.relative_to(root).as_posix() for path in root.glob("**/*") if path.is_file()]
    return sorted(
        name
        for name in fnmatch.filter(names, pattern)
        if not any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
    )


def relative_to(path: AnyPath, root: AnyPath) -> str:
    """A path below `root`, with slashes; as it is where it lies elsewhere."""
    if isinstance(path, zipfile.Path) or isinstance(root, zipfile.Path):
        return str(path).removeprefix(str(root)).lstrip("/")
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
