"""Fetch the files of a download: what is missing is downloaded, what is there is checked.

pooch checks hashes, retries and puts files in place. A file appears under its own name only when
it is complete and its hash is right; until then it is called `<file>.part`.

Where no publisher gives a hash, the hash of the first download, or of the file that was put there
by hand, is written to `checksums.json` beside the file, and every later call checks against it.
"""

import json
from pathlib import Path

import pooch
import requests

from nn_graphs.download.files import Download, RemoteFile
from nn_graphs.download.transfer import ResumingDownloader, WebPageError, web_page_title
from nn_graphs.download.unpacking import unpack, unpacked_folder
from nn_graphs.errors import NNGraphsError
from nn_graphs.locks import only_writer
from nn_graphs.records import write_record
from nn_graphs.whole_files import disk_errors

RECORDED = "checksums.json"
SNIFFED_BYTES = 1 << 16


def fetch_files(download: Download, root: Path, *, num_tries: int = 3) -> Path:
    """Get the files of a download to `root/download.name` where they are not there yet.

    An archive that was unpacked may be deleted; it is not asked for again.

    Args:
        download: what to get.
        root: the folder of all data.
        num_tries: for every url of a file.

    Returns:
        The folder with the files.

    Raises:
        NNGraphsError: where no server gives a file, a hash is wrong, an archive is damaged, or a
            file must first be put there by hand.
    """
    folder = root / download.name
    with only_writer(folder), disk_errors(folder / "files"):
        _fetch_all(download, folder, num_tries)
    return folder


def _fetch_all(download: Download, folder: Path, num_tries: int) -> None:
    for file in download.files:
        path = folder / file.name
        is_packed = download.unpack and file.is_archive
        if is_packed and unpacked_folder(path).exists() and not path.exists():
            continue
        recorded = _read_recorded(folder)
        known_hash = file.known_hash or recorded.get(file.name)
        if path.exists():
            _check_present(file, path, known_hash)
        else:
            _fetch_file(file, folder=folder, known_hash=known_hash, num_tries=num_tries)
        if known_hash is None:
            hashes = recorded | {file.name: pooch.file_hash(str(path))}
            write_record(folder / RECORDED, hashes)
        if is_packed:
            unpack(path)


def _fetch_file(file: RemoteFile, *, folder: Path, known_hash: str | None, num_tries: int) -> None:
    path, failures = folder / file.name, []
    if file.is_by_hand:
        folder.mkdir(parents=True, exist_ok=True)
        found = f"it is offered to browsers alone, and there is no {path}."
        raise NNGraphsError(f"download {file.name}", found=found, do=_by_hand(file, path))
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
        except (requests.RequestException, WebPageError, ValueError) as error:
            failures.append(f"{url}: {error}")
    do = f"Try again later. {_by_hand(file, path)}"
    if known_hash != file.known_hash:
        do += f" If a new version was published, delete {folder / RECORDED} first."
    raise NNGraphsError(f"download {file.name} to {folder}", found="; ".join(failures), do=do)


def _by_hand(file: RemoteFile, path: Path) -> str:
    if file.page is None:
        return f"Or put the file at {path} yourself."
    begin = "Open" if file.is_by_hand else "Or open"
    return f"{begin} {file.page} in a browser, save {file.name} as {path}, and ask again."


def _check_present(file: RemoteFile, path: Path, known_hash: str | None) -> None:
    """Raise for a file that is there and is wrong: whether to lose it is the user's decision."""
    with path.open("rb") as content:
        title = web_page_title(content.read(SNIFFED_BYTES))
    if title is not None:
        found = f"it is a web page ({title})."
    elif not pooch.hashes.hash_matches(str(path), known_hash):
        algorithm = pooch.hashes.hash_algorithm(known_hash)
        found_hash = pooch.file_hash(str(path), alg=algorithm)
        found = f"the hash {known_hash} was expected, {found_hash} was found."
    else:
        return
    do = "Delete it and " + ("fetch" if file.is_by_hand else "download") + " it again."
    raise NNGraphsError(f"use {path}", found=found, do=do)


def _read_recorded(folder: Path) -> dict[str, str]:
    path = folder / RECORDED
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise NNGraphsError(
            f"check the files in {folder}", found=f"{path} is not JSON: {error}.", do="Delete it."
        ) from error
