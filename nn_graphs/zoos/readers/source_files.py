"""The files that a zoo is read from, in a folder or in a zip archive that need not be unpacked.

Both are paths; they are found by patterns, and their bytes are read ahead by threads.
"""

import fnmatch
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby, islice, repeat
from pathlib import Path

from nn_graphs.errors import NNGraphsError

AnyPath = Path | zipfile.Path
ZIP_DAMAGE = (
    zipfile.BadZipFile, zlib.error, KeyError, EOFError, NotImplementedError, RuntimeError
)  # fmt: skip
"""What zipfile raises for a damaged member, or one packed in a way that it does not know."""
BLOCK = 16  # files that a thread reads at a time: handing over each by itself costs more


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


def relative_paths(root: str | Path, pattern: str) -> list[str]:
    """Files of a pattern under `root`, as sorted paths with slashes; hidden ones are left out."""
    root = Path(root)
    found = (path.relative_to(root) for path in root.glob(pattern))
    return sorted(
        path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts)
    )


def find_root(folder: str | Path, *, asked: str, inside: str, archive: str, child: str) -> Path:
    """`folder` or its subfolder `child`, whichever holds what the pattern `inside` says.

    Raises:
        NNGraphsError: neither does.
    """
    candidates = (Path(folder), Path(folder) / child)
    for root in candidates:
        if next(root.glob(inside), None) is not None:
            return root
    is_there = Path(folder).is_dir()
    raise NNGraphsError(
        asked,
        found=f"it holds no {inside}." if is_there else "there is no such folder.",
        do=f"Unpack {archive} and give the folder {child}.",
    )


def read_ahead(paths: Sequence[AnyPath], num_workers: int) -> Iterator[bytes | OSError]:
    """The contents of files in order, a block for each thread read ahead.

    A path that comes several times in a row is read once, and its content is the same object.

    Threads read the bytes, one thread takes them apart. Torch's restricted unpickler is Python
    code, half a millisecond a file: more threads for it are slower, and processes start in as long
    as 10,000 files take. Reading ahead costs nothing on a warm disk and hides the waits for a cold
    one.
    """
    runs = [(path, sum(1 for _ in again)) for path, again in groupby(paths)]
    single = [path for path, _ in runs]
    blocks = (single[start : start + BLOCK] for start in range(0, len(single), BLOCK))
    counts = (count for _, count in runs)
    with ThreadPoolExecutor(num_workers) as pool:
        futures = deque(pool.submit(_read_block, block) for block in islice(blocks, num_workers))
        while futures:
            contents = futures.popleft().result()
            futures.extend(pool.submit(_read_block, block) for block in islice(blocks, 1))
            for content in contents:
                yield from repeat(content, next(counts))


def _read_block(paths: Sequence[AnyPath]) -> list[bytes | OSError]:
    return [read_bytes(path) for path in paths]


def read_bytes(path: AnyPath) -> bytes | OSError:
    """The bytes of a file, or why they cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        return error
    except ZIP_DAMAGE as error:
        return OSError(str(error))
