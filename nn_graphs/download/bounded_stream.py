"""A stream of unpacked bytes that ends before it fills a disk or the memory."""

import bz2
import gzip
import lzma
from io import BufferedIOBase
from typing import Any

COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
MOST_READ = 1 << 24  # bytes at once: what tarfile takes into memory is headers alone
MOST_GROWTH, SMALL = 100, 1 << 30


def most_unpacked(num_bytes: int) -> int:
    """How many bytes an archive of `num_bytes` may have when it is unpacked."""
    return MOST_GROWTH * num_bytes + SMALL


class BoundedStream:
    """The bytes of a file, unpacked where they are compressed: so many in all, few at once.

    Methods raise ValueError where more is asked for.
    """

    def __init__(self, file: BufferedIOBase, limit: int):
        start = file.read(max(map(len, COMPRESSED)))
        file.seek(0)
        self.stream: Any = file
        for mark, unpacked in COMPRESSED.items():
            if start.startswith(mark):
                self.stream = unpacked(file)
        self.limit = limit

    def read(self, size: int) -> bytes:
        if size > MOST_READ:
            raise ValueError(f"a header in it has {size:,} bytes")
        self._check(self.tell())
        return self.stream.read(size)

    def seek(self, position: int) -> int:
        self._check(position)
        return self.stream.seek(position)

    def tell(self) -> int:
        return self.stream.tell()

    def read_to_end(self) -> None:
        """Reads what is left: compressed bytes have their checksum there."""
        while self.read(MOST_READ):
            pass

    def _check(self, position: int) -> None:
        if position > self.limit:
            raise ValueError(f"unpacked, it has more than {self.limit:,} bytes")
