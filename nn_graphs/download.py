"""Downloads by name: where files come from, what they must hash to, whom to cite.

pooch checks hashes, retries and puts files in place; the part it lacks, going on with a file
whose transfer broke off, is `ResumingDownloader`. A file appears under its own name only when
it is complete and its hash is right; until then it is called `<file>.part`.

Where no publisher gives a hash, the hash of the first download is written to
`checksums.json` beside the file, and every later call checks against it.
"""

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
import urllib3

from nn_graphs.errors import NNGraphsError
from nn_graphs.progress import progress_bar

CHUNK_BYTES = 1 << 18
RECORDED = "checksums.json"


@dataclass(frozen=True)
class RemoteFile:
    """A file that can be downloaded.

    Attributes:
        name: its name on disk.
        urls: where the same bytes are offered, tried in this order.
        known_hash: sha256, or `md5:` and an md5; None where nobody published one.
    """

    name: str
    urls: tuple[str, ...]
    known_hash: str | None = None


@dataclass(frozen=True)
class Download:
    """Files that belong together.

    Attributes:
        name: as in `fetch(name, root)`; also the folder under the root.
        files: what to download.
        licence: on what terms the publisher offers the files.
        citation: what to cite where they are used.
        unpack: whether the files are archives (zip, tar), each to be unpacked beside itself
            into a folder that has its name without the endings.
    """

    name: str
    files: tuple[RemoteFile, ...]
    licence: str
    citation: str
    unpack: bool = False


@dataclass(frozen=True)
class ResumingDownloader:
    """Downloads for pooch, going on where `part` ends if the server can (HTTP Range).

    A part of another version of the file is not noticed here: its hash is wrong in the end,
    and the next try starts from nothing.

    Attributes:
        part: the file that grows from try to try.
        timeout_seconds: how long the server may be silent.
    """

    part: Path
    timeout_seconds: float = 30.0

    def __call__(self, url: str, output_file: str, store: pooch.Pooch | None) -> None:
        """Write the bytes at `url` to `output_file`; a broken transfer leaves `part`."""
        num_done = self.part.stat().st_size if self.part.exists() else 0
        # The bytes as stored: a .gz must not arrive unpacked.
        headers = {"Accept-Encoding": "identity"}
        if num_done:
            headers["Range"] = f"bytes={num_done}-"
        with requests.get(
            url, headers=headers, stream=True, timeout=self.timeout_seconds
        ) as response:
            if num_done and response.status_code == requests.codes.range_not_satisfiable:
                self.part.unlink()
                raise requests.ConnectionError("the file is shorter than the part of it on disk")
            response.raise_for_status()
            self._receive(response, num_done)
        os.replace(self.part, output_file)

    def _receive(self, response: requests.Response, num_done: int) -> None:
        start = _start_of(response)
        if start not in (0, num_done):
            raise requests.ConnectionError(f"asked for bytes from {num_done}, got from {start}")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else 0
        with (
            self.part.open("ab" if start else "wb") as file,
            progress_bar(total, unit="bytes", description=self.part.stem, done=start) as bar,
        ):
            for chunk in _chunks(response):
                file.write(chunk)
                bar.advance(len(chunk))
        # urllib3 before version 2 ends a short transfer without a word.
        if total and self.part.stat().st_size != total:
            raise requests.ConnectionError(
                f"the transfer ended at {self.part.stat().st_size} of {total} bytes"
            )


def fetch(name: str, root: Path) -> Path:
    """Download `name`, one of `DOWNLOADS`, to `root/name` where it is not there yet.

    Returns:
        The folder with the files.

    Raises:
        NNGraphsError: where the name is unknown, no server gives the file, or a hash is wrong.
    """
    if name not in DOWNLOADS:
        raise NNGraphsError(
            f"download {name!r}",
            found="no download has that name.",
            do=f"Choose one of: {', '.join(DOWNLOADS)}.",
        )
    return fetch_files(DOWNLOADS[name], root)


def fetch_files(download: Download, root: Path, *, num_tries: int = 3) -> Path:
    """As `fetch`, for a download that is in no registry; `num_tries` for every url of a file."""
    folder = root / download.name
    for file in download.files:
        recorded = _read_recorded(folder)
        known_hash = file.known_hash or recorded.get(file.name)
        _check_present(folder / file.name, known_hash)
        _fetch_file(file, folder=folder, known_hash=known_hash, num_tries=num_tries)
        if known_hash is None:
            found_hash = pooch.file_hash(str(folder / file.name))
            _write_recorded(folder, recorded | {file.name: found_hash})
        if download.unpack:
            _unpack(folder / file.name)
    return folder


def _fetch_file(file: RemoteFile, *, folder: Path, known_hash: str | None, num_tries: int) -> None:
    failures = []
    for url in file.urls:
        store = pooch.create(
            path=folder,
            base_url="",
            registry={file.name: known_hash},
            urls={file.name: url},
            retry_if_failed=num_tries - 1,
        )
        try:
            store.fetch(file.name, downloader=ResumingDownloader(folder / f"{file.name}.part"))
            return
        # pooch raises ValueError, naming both hashes, where a hash is wrong.
        except (requests.RequestException, ValueError) as error:
            failures.append(f"{url}: {error}")
    do = f"Try again later, or put the file at {folder / file.name} yourself."
    if known_hash != file.known_hash:
        do += f" If a new version was published, delete {folder / RECORDED} first."
    raise NNGraphsError(f"download {file.name} to {folder}", found="; ".join(failures), do=do)


def _check_present(path: Path, known_hash: str | None) -> None:
    """Raise for a file that is there and is wrong: whether to lose it is the user's decision."""
    if not path.exists() or pooch.hashes.hash_matches(str(path), known_hash):
        return
    algorithm = pooch.hashes.hash_algorithm(known_hash)
    raise NNGraphsError(
        f"use {path}",
        found=f"the hash {known_hash} was expected, "
        f"{pooch.file_hash(str(path), alg=algorithm)} was found.",
        do="Delete it and download it again.",
    )


def _chunks(response: requests.Response) -> Iterable[bytes]:
    try:
        yield from response.raw.stream(CHUNK_BYTES, decode_content=False)
    except urllib3.exceptions.HTTPError as error:
        raise requests.ConnectionError(str(error)) from error


def _start_of(response: requests.Response) -> int:
    """Position in the file of the first byte of the response."""
    if response.status_code != requests.codes.partial_content:
        return 0
    start = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(start[1]) if start else -1


def _read_recorded(folder: Path) -> dict[str, str]:
    path = folder / RECORDED
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise NNGraphsError(
            f"check the files in {folder}", found=f"{path} is not JSON: {error}.", do="Delete it."
        ) from error


def _write_recorded(folder: Path, hashes: Mapping[str, str]) -> None:
    partial = folder / f"{RECORDED}.part"
    partial.write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
    os.replace(partial, folder / RECORDED)


def _unpack(archive: Path) -> None:
    """Unpack beside, then rename: what is there under the final name is complete."""
    target = archive.parent / archive.name.split(".")[0]
    if target.exists():
        return
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    # "data": a member of a tar file must not be written outside the folder.
    tar_only = {} if archive.suffix == ".zip" else {"filter": "data"}
    try:
        shutil.unpack_archive(archive, partial, **tar_only)
    # Damage shows in tarfile, zipfile or zlib, as nearly any exception there is.
    except Exception as error:
        raise NNGraphsError(
            f"unpack {archive}", found=f"{error}.", do="Delete it and download it again."
        ) from error
    partial.rename(target)


def _idx_files(bases: tuple[str, ...], hashes: Mapping[str, str]) -> tuple[RemoteFile, ...]:
    return tuple(
        RemoteFile(name, urls=tuple(base + name for base in bases), known_hash=known_hash)
        for name, known_hash in hashes.items()
    )


MNIST = Download(
    name="mnist",
    files=_idx_files(
        (
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        {
            "train-images-idx3-ubyte.gz": (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
            ),
            "train-labels-idx1-ubyte.gz": (
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
            ),
        },
    ),
    licence="CC BY-SA 3.0 (Yann LeCun, Corinna Cortes)",
    citation="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document "
    "recognition. Proceedings of the IEEE 86(11), 1998.",
)

FASHION_MNIST = Download(
    name="fashion_mnist",
    files=_idx_files(
        (
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        {
            "train-images-idx3-ubyte.gz": (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
            ),
            "train-labels-idx1-ubyte.gz": (
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
            ),
        },
    ),
    licence="MIT (Zalando SE)",
    citation="Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking "
    "machine learning algorithms. arXiv:1708.07747, 2017.",
)

DOWNLOADS: dict[str, Download] = {download.name: download for download in (MNIST, FASHION_MNIST)}
