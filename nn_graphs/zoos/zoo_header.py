"""The first 512 bytes of a zoo file: what is known of it before HDF5 looks at a byte.

They are HDF5's user block, which it leaves to whoever writes the file. A wrong bit in the structure
of an HDF5 file can make its library loop for ever; so the header holds a checksum of all that is
neither header nor parameters, and one of itself. Parameters, which are mapped and may be larger
than memory, have none: their bytes are numbers whatever they are.
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO

import h5py

HEADER_BYTES = 512  # the smallest user block there is
MAGIC = b"nn_graphs.zoo\r\n\x1a"  # shows when a file went through a text mode
HDF5 = b"\x89HDF\r\n\x1a\n"
FIELDS = struct.Struct("<16sQQQI")  # magic, bytes in all, start and end of params, checksum
CHECKSUM = struct.Struct("<I")
BLOCK = 1 << 20


class DamagedError(Exception):
    """What is wrong with a zoo file, in words."""


@dataclass(frozen=True)
class ZooHeader:
    """What the header says.

    Attributes:
        num_bytes: of the file.
        start, end: of the parameters in it.
        checksum: CRC-32 of the bytes behind the header, parameters left out.
    """

    num_bytes: int
    start: int
    end: int
    checksum: int

    def to_bytes(self) -> bytes:
        fields = FIELDS.pack(MAGIC, self.num_bytes, self.start, self.end, self.checksum)
        return (fields + CHECKSUM.pack(zlib.crc32(fields))).ljust(HEADER_BYTES, b"\0")

    @classmethod
    def from_bytes(cls, content: bytes) -> "ZooHeader":
        """Raises DamagedError where its own checksum is another."""
        fields = content[: FIELDS.size]
        found = CHECKSUM.unpack_from(content.ljust(HEADER_BYTES, b"\0"), FIELDS.size)[0]
        if found != zlib.crc32(fields):
            raise DamagedError("its header is damaged")
        return cls(*FIELDS.unpack(fields)[1:])


def write_header(path: Path) -> None:
    """Writes the header of a zoo file that is whole but for it."""
    with h5py.File(path, "r") as file:
        params = file["params"]
        start = params.id.get_offset() if params.size else HEADER_BYTES
        end = start + params.nbytes
    num_bytes = path.stat().st_size
    with path.open("r+b") as file:
        checksum = _checksum(file, start, end, num_bytes)
        file.seek(0)
        file.write(ZooHeader(num_bytes, start, end, checksum).to_bytes())


def check_header(path: Path) -> None:
    """That the file is as it was written, where it has a header: older ones have none.

    Raises:
        DamagedError: it has another length, or other bytes.
    """
    with path.open("rb") as file:
        content = file.read(HEADER_BYTES)
        if content.startswith(HDF5):
            return
        if not content.startswith(MAGIC):
            raise DamagedError(f"it is truncated or no HDF5 file of {path.stat().st_size} bytes")
        header, num_bytes = ZooHeader.from_bytes(content), path.stat().st_size
        if num_bytes != header.num_bytes:
            raise DamagedError(f"it has {num_bytes} of {header.num_bytes} bytes")
        if _checksum(file, header.start, header.end, num_bytes) != header.checksum:
            raise DamagedError("its checksum is wrong: a byte of it was changed")


def _checksum(file: BinaryIO, start: int, end: int, num_bytes: int) -> int:
    checksum = 0
    for block in chain(_blocks(file, HEADER_BYTES, start), _blocks(file, end, num_bytes)):
        checksum = zlib.crc32(block, checksum)
    return checksum


def _blocks(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    for place in range(start, end, BLOCK):
        yield file.read(min(BLOCK, end - place))
