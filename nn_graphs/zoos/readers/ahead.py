"""The bytes of many files, read ahead by threads.

Threads read the bytes ahead, one thread takes them apart. Torch's restricted unpickler is Python
code, half a millisecond a file: more threads for it are slower, and processes start in as long as
10,000 files take. Reading ahead costs nothing on a warm disk and hides the waits for a cold one.
"""

import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from nn_graphs.zoos.readers.files import AnyPath

BLOCK = 16  # files that a thread reads at a time: handing over each by itself costs more


def read_ahead(paths: Sequence[AnyPath], num_workers: int) -> Iterator[bytes | OSError]:
    """The contents of files in order, a block for each thread read ahead."""
    blocks = (paths[start : start + BLOCK] for start in range(0, len(paths), BLOCK))
    with ThreadPoolExecutor(num_workers) as pool:
        futures = deque(pool.submit(_read_block, block) for block in islice(blocks, num_workers))
        while futures:
            contents = futures.popleft().result()
            futures.extend(pool.submit(_read_block, block) for block in islice(blocks, 1))
            yield from contents


def _read_block(paths: Sequence[AnyPath]) -> list[bytes | OSError]:
    return [read_bytes(path) for path in paths]


def read_bytes(path: AnyPath) -> bytes | OSError:
    try:
        return path.read_bytes()
    except OSError as error:
        return error
    except (zipfile.BadZipFile, zlib.error, KeyError) as error:
        return OSError(str(error))
