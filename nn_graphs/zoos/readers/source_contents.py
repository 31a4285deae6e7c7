"""Whether files are still those that a zoo was read from: fingerprints of lists and contents.

Reading all files again only to compare them would take as long as reading the zoo. So sizes and
times of change are compared first, as git does it, and contents only where these differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from nn_graphs.fingerprint import fingerprint
from nn_graphs.zoos.readers.source_files import AnyPath, read_bytes
from nn_graphs.zoos.readers.sources import Listing

LIST = "the list of files, with their labels, splits and architectures,"


def record_contents(listing: Listing, fingerprints: Iterable[str] | None = None) -> dict[str, str]:
    """What a zoo keeps of the files that it was read from, as JSON data.

    Args:
        listing: of the files.
        fingerprints: of each, by `content_fingerprint`, where they have just been read.
    """
    known = map(file_fingerprint, listing.paths) if fingerprints is None else fingerprints
    return {
        "list": _list_fingerprint(listing),
        "stats": _stats_fingerprint(listing.paths),
        "contents": fingerprint(known),
    }


def find_change(recorded: Mapping[str, str], listing: Listing) -> str | None:
    """What has changed of the files since `record_contents`, in words; None: nothing."""
    if recorded["list"] != _list_fingerprint(listing):
        return f"{LIST} has changed"
    if recorded["stats"] == _stats_fingerprint(listing.paths):
        return None
    contents = fingerprint(map(file_fingerprint, listing.paths))
    return None if recorded["contents"] == contents else "the contents of files have changed"


def content_fingerprint(content: bytes | OSError) -> str:
    """That of a file's bytes; of one that cannot be read, why not."""
    return fingerprint([_bytes(content) if isinstance(content, bytes) else repr(content)])


def file_fingerprint(path: AnyPath) -> str:
    """That of a file's bytes, which are mapped, not loaded, where they lie in a folder."""
    if isinstance(path, Path) and path.stat().st_size:
        return fingerprint([torch.from_numpy(np.memmap(path, dtype=np.uint8, mode="c"))])
    return content_fingerprint(read_bytes(path))


def _bytes(content: bytes) -> Tensor:
    return torch.from_numpy(np.frombuffer(bytearray(content), dtype=np.uint8))


def _list_fingerprint(listing: Listing) -> str:
    """Of what is known of the networks beside their weights; architectures are small files."""
    return fingerprint(
        [listing.table.to_csv(index=False), *map(file_fingerprint, listing.architectures)]
    )


def _stats_fingerprint(paths: Sequence[AnyPath]) -> str:
    return fingerprint(map(_stats, paths))


def _stats(path: AnyPath) -> str:
    """Size and time of change of a file; of one in an archive, size and checksum."""
    if isinstance(path, Path):
        stats = path.stat()
        return f"{stats.st_size} {stats.st_mtime_ns}"
    info = path.root.getinfo(path.at)
    return f"{info.file_size} {info.CRC}"
