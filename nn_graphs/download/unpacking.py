"""Unpack archives, however many files they hold, so that a folder is there whole or not at all."""

import os
import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from nn_graphs.download.bounded_stream import BoundedStream, most_unpacked
from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import progress_bar
from nn_graphs.whole_files import disk_errors

FORKS = "__MACOSX"  # a folder that macOS adds to zip files, of no use elsewhere


def unpacked_folder(archive: Path) -> Path:
    """Where `unpack` puts the members of an archive: beside it, its name without the endings."""
    return archive.parent / archive.name.split(".")[0]


def unpack(archive: Path) -> Path:
    """Unpack a zip or tar file into `unpacked_folder(archive)`, where that is not done yet.

    An archive that holds a single folder, whatever its name, becomes that folder, not a folder
    around it. Unpacking happens in `<folder>.part`; interrupted, the next call starts again.

    Raises:
        NNGraphsError: for a damaged archive, one that would write or lead outside the folder, or
            one that grows more than archives of data do (`most_unpacked`); the disk is full.
    """
    target = unpacked_folder(archive)
    if target.exists():
        return target
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        with disk_errors(target):
            _extract_with_bar(archive, partial)
        _check_links(partial)
    except NNGraphsError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # Damage shows in tarfile, zipfile or zlib, as nearly any exception there is.
    except Exception as error:
        raise NNGraphsError(
            f"unpack {archive}", found=f"{error}.", do="Delete it and download it again."
        ) from error
    root = _root(partial)
    root.rename(target)
    if root != partial:
        partial.rmdir()
    return target


def _root(partial: Path) -> Path:
    """The single folder in the unpacked one, or that itself."""
    members = list(partial.iterdir())
    is_folder = len(members) == 1 and members[0].is_dir() and not members[0].is_symlink()
    return members[0] if is_folder else partial


def _check_links(partial: Path) -> None:
    """That links stay inside of what becomes the folder.

    Raises:
        ValueError: one leaves it.
    """
    root = _root(partial).resolve()
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                place = path.relative_to(root)
                raise ValueError(f"the link {place} leads outside, to {os.readlink(path)}")


def _extract_with_bar(archive: Path, folder: Path) -> None:
    done, total = 0, archive.stat().st_size
    with progress_bar(total, unit="bytes", description=f"unpacking {archive.name}") as bar:
        for position in chain(_extract(archive, folder), [total]):
            bar.advance(max(0, position - done))
            done = max(done, position)


def _extract(archive: Path, folder: Path) -> Iterator[int]:
    """Extract member by member; yields the positions in the archive that are reached."""
    limit = most_unpacked(archive.stat().st_size)
    # Tar first: a tar file whose last member is a zip file, as checkpoints of torch are, has what
    # zipfile looks for near its end.
    try:
        yield from _extract_tar(archive, folder, limit)
    except _NoTarError:
        if not zipfile.is_zipfile(archive):
            raise ValueError("it is neither a zip nor a tar file") from None
        yield from _extract_zip(archive, folder, limit)


class _NoTarError(Exception):
    """A file that does not begin as a tar file does."""


def _extract_zip(archive: Path, folder: Path, limit: int) -> Iterator[int]:
    with zipfile.ZipFile(archive) as packed:
        if sum(member.file_size for member in packed.infolist()) > limit:
            raise ValueError(f"unpacked, it has more than {limit:,} bytes")
        for member in packed.infolist():
            if not member.filename.startswith(f"{FORKS}/"):
                packed.extract(member, folder)
            yield member.header_offset + member.compress_size


def _extract_tar(archive: Path, folder: Path, limit: int) -> Iterator[int]:
    with archive.open("rb") as file:
        stream = BoundedStream(file, limit)
        try:
            packed = tarfile.TarFile(fileobj=stream)
        except tarfile.ReadError as error:
            raise _NoTarError from error
        while (member := packed.next()) is not None:
            # "data": a member must not be written outside the folder.
            packed.extract(member, folder, filter="data")
            # tarfile remembers every member: half a gigabyte for a million files.
            packed.members.clear()  # type: ignore[attr-defined]  # there, but undocumented
            yield file.tell()
        # A tar file that was cut between two members reads as a shorter one, but for its mark.
        stream.seek(packed.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError("it breaks off: a tar file ends with an empty block")
        stream.read_to_end()
