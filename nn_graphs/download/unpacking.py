"""Unpack archives, however many files they hold, so that a folder is there whole or not at all."""

import shutil
import tarfile
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import progress_bar

FORKS = "__MACOSX"  # a folder that macOS adds to zip files, of no use elsewhere


def unpacked_folder(archive: Path) -> Path:
    """Where `unpack` puts the members of an archive: beside it, its name without the endings."""
    return archive.parent / archive.name.split(".")[0]


def unpack(archive: Path) -> Path:
    """Unpack a zip or tar file into `unpacked_folder(archive)`, where that is not done yet.

    An archive that holds a single folder, whatever its name, becomes that folder, not a folder
    around it. Unpacking happens in `<folder>.part`; interrupted, the next call starts again.

    Raises:
        NNGraphsError: for a damaged archive, or one that would write outside the folder.
    """
    target = unpacked_folder(archive)
    if target.exists():
        return target
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        _extract_with_bar(archive, partial)
    # Damage shows in tarfile, zipfile or zlib, as nearly any exception there is.
    except Exception as error:
        raise NNGraphsError(
            f"unpack {archive}", found=f"{error}.", do="Delete it and download it again."
        ) from error
    members = list(partial.iterdir())
    if len(members) == 1 and members[0].is_dir():
        members[0].rename(target)
        partial.rmdir()
    else:
        partial.rename(target)
    return target


def _extract_with_bar(archive: Path, folder: Path) -> None:
    done, total = 0, archive.stat().st_size
    with progress_bar(total, unit="bytes", description=f"unpacking {archive.name}") as bar:
        for position in chain(_extract(archive, folder), [total]):
            bar.advance(max(0, position - done))
            done = max(done, position)


def _extract(archive: Path, folder: Path) -> Iterator[int]:
    """Extract member by member; yields the positions in the archive that are reached."""
    # Tar first: a tar file whose last member is a zip file, as checkpoints of torch are, has what
    # zipfile looks for near its end.
    if tarfile.is_tarfile(archive):
        return _extract_tar(archive, folder)
    if zipfile.is_zipfile(archive):
        return _extract_zip(archive, folder)
    raise ValueError("it is neither a zip nor a tar file")


def _extract_zip(archive: Path, folder: Path) -> Iterator[int]:
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            if not member.filename.startswith(f"{FORKS}/"):
                packed.extract(member, folder)
            yield member.header_offset + member.compress_size


def _extract_tar(archive: Path, folder: Path) -> Iterator[int]:
    with archive.open("rb") as file, tarfile.open(fileobj=file) as packed:
        while (member := packed.next()) is not None:
            # "data": a member must not be written outside the folder.
            packed.extract(member, folder, filter="data")
            # tarfile remembers every member: half a gigabyte for a million files.
            packed.members.clear()  # type: ignore[attr-defined]  # there, but undocumented
            yield file.tell()
        # A tar file that was cut between two members reads as a shorter one, but for its mark.
        packed.fileobj.seek(packed.offset)
        if packed.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise ValueError("it breaks off: a tar file ends with an empty block")
