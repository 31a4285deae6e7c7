"""The part of downloading that pooch lacks: to go on with a file whose transfer broke off."""

import html
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pooch
import requests
import urllib3

from nn_graphs.progress import progress_bar

CHUNK_BYTES = 1 << 18
PAGE_STARTS = (b"<!doctype html", b"<html")


class WebPageError(Exception):
    """A server sent a web page (a login, a quota, a question) where a file was asked for."""


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
        """Write the bytes at `url` to `output_file`; a broken transfer leaves `part`.

        Raises:
            requests.RequestException: the transfer failed; another try may succeed.
            WebPageError: there is a web page at `url`; another try will find it again.
        """
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
        chunks = _chunks(response)
        if not start:
            chunks = _no_page(chunks)
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else 0
        with (
            self.part.open("ab" if start else "wb") as file,
            progress_bar(total, unit="bytes", description=self.part.stem, done=start) as bar,
        ):
            for chunk in chunks:
                file.write(chunk)
                bar.advance(len(chunk))
        # urllib3 before version 2 ends a short transfer without a word.
        if total and self.part.stat().st_size != total:
            raise requests.ConnectionError(
                f"the transfer ended at {self.part.stat().st_size} of {total} bytes"
            )


def web_page_title(start: bytes) -> str | None:
    """The title of the web page that begins with `start`; None where that is no web page."""
    if not start.removeprefix(b"\xef\xbb\xbf").lstrip()[:16].lower().startswith(PAGE_STARTS):
        return None
    title = re.search(rb"<title[^>]*>(.*?)</title>", start, re.IGNORECASE | re.DOTALL)
    words = html.unescape(title[1].decode(errors="replace")).split() if title else []
    return " ".join(words) or "untitled"


def _no_page(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """The same chunks; raises before any is written where they are a web page."""
    first = next(chunks, b"")
    title = web_page_title(first)
    if title is not None:
        raise WebPageError(f"a web page ({title}) came instead of the file")
    return chain([first], chunks)


def _chunks(response: requests.Response) -> Iterator[bytes]:
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
