"""What the tests of downloads share: a server that misbehaves to order, and downloads from it."""

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nn_graphs.download import Download, RemoteFile

CONTENT = bytes(range(256)) * 4000  # 1 MB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"\n<!DOCTYPE html><html><head><title>Drive &mdash; Quota\n exceeded</title></head></html>"


@dataclass
class Server:
    """What the server offers and how it misbehaves; `requests` is what it was asked for.

    `drops` are the positions at which the next transfers break off; a transfer that goes on
    does so `skip` bytes too late.
    """

    files: dict[str, bytes] = field(default_factory=lambda: {"file.bin": CONTENT})
    has_range: bool = True
    has_length: bool = True
    skip: int = 0
    drops: list[int] = field(default_factory=list)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    base: str = ""

    def url(self, path: str = "file.bin") -> str:
        return self.base + path

    def ranges(self) -> list[str | None]:
        return [range_ for _, range_ in self.requests]


def make_handler(server: Server) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path, range_ = self.path[1:], self.headers["Range"]
            server.requests.append((path, range_))
            if path not in server.files:
                return self.send_error(404)
            content = server.files[path]
            is_rest = range_ and server.has_range
            start = int(range_[len("bytes=") : -1]) + server.skip if is_rest else 0
            if start >= len(content) > 0:
                return self.send_error(416)
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/*")
            if server.has_length:
                self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start : server.drops.pop(0) if server.drops else None])

        def log_message(self, *args):
            pass

    return Handler


@contextmanager
def running_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server on this machine; pooch does not wait between tries."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(server)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.base = f"http://127.0.0.1:{http.server_port}/"
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def make_download(
    *urls: str,
    known_hash: str | None = SHA256,
    unpack: bool = False,
    name: str | None = None,
    page: str | None = None,
) -> Download:
    """A download named tiny of one file, called as the url ends, or `name`."""
    name = name or urls[-1].rpartition("/")[2]
    file = RemoteFile(name, urls=urls, known_hash=known_hash, page=page)
    return Download("tiny", files=(file,), licence="none", citation="none", unpack=unpack)


def make_archive(name: str, members: Mapping[str, bytes]) -> bytes:
    """A zip, tar, tar.gz or tar.xz file, by the ending of its name."""
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for member, content in members.items():
                archive.writestr(member, content)
        return buffer.getvalue()
    packing = name.rpartition(".tar")[2].replace(".", ":")  # :gz, :xz or none
    with tarfile.open(fileobj=buffer, mode=f"w{packing}") as archive:
        for member, content in members.items():
            info = tarfile.TarInfo(member)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def file_names(folder: Path) -> list[str]:
    """Everything right in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())
