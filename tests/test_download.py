"""Downloads from a server on this machine that breaks off, lies or is old-fashioned."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nn_graphs.download import DOWNLOADS, Download, RemoteFile, fetch, fetch_files
from nn_graphs.errors import NNGraphsError

CONTENT = bytes(range(256)) * 4000  # 1 MB: several chunks
SHA256 = hashlib.sha256(CONTENT).hexdigest()


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


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    monkeypatch.setenv("NN_GRAPHS_PROGRESS", "0")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    server = Server()
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(server)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        server.base = f"http://127.0.0.1:{http.server_port}/"
        yield server
        http.shutdown()
        thread.join()


def make_download(*urls: str, known_hash: str | None = SHA256, unpack: bool = False) -> Download:
    name = urls[-1].rpartition("/")[2]
    file = RemoteFile(name, urls=urls, known_hash=known_hash)
    return Download("tiny", files=(file,), licence="none", citation="none", unpack=unpack)


def file_names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    "known_hash", [SHA256, f"md5:{hashlib.md5(CONTENT).hexdigest()}"], ids=["sha256", "md5"]
)
@pytest.mark.parametrize("has_length", [True, False])
def test_plain_download(server, tmp_path, known_hash, has_length):
    server.has_length = has_length
    download = make_download(server.url(), known_hash=known_hash)
    assert fetch_files(download, tmp_path) == tmp_path / "tiny"
    assert file_names(tmp_path / "tiny") == ["file.bin"]
    assert (tmp_path / "tiny/file.bin").read_bytes() == CONTENT


def test_what_is_there_is_not_asked_for_again(server, tmp_path):
    for _ in range(2):
        fetch_files(make_download(server.url()), tmp_path)
    assert server.ranges() == [None]


def test_a_dropped_connection_is_resumed(server, tmp_path):
    server.drops = [300_000, 700_000]
    fetch_files(make_download(server.url()), tmp_path)
    assert server.ranges() == [None, "bytes=300000-", "bytes=700000-"]
    assert (tmp_path / "tiny/file.bin").read_bytes() == CONTENT


def test_a_later_call_goes_on_where_an_earlier_one_gave_up(server, tmp_path):
    server.drops = [300_000]
    with pytest.raises(NNGraphsError, match=r"300000.* 724000"):
        fetch_files(make_download(server.url()), tmp_path, num_tries=1)
    assert file_names(tmp_path / "tiny") == ["file.bin.part"]
    fetch_files(make_download(server.url()), tmp_path, num_tries=1)
    assert server.ranges() == [None, "bytes=300000-"]
    assert file_names(tmp_path / "tiny") == ["file.bin"]


def test_a_server_without_range_sends_everything_again(server, tmp_path):
    server.has_range, server.drops = False, [300_000]
    fetch_files(make_download(server.url()), tmp_path)
    assert server.ranges() == [None, "bytes=300000-"]
    assert (tmp_path / "tiny/file.bin").read_bytes() == CONTENT


def test_a_server_that_goes_on_elsewhere_is_not_believed(server, tmp_path):
    server.skip, server.drops = 7, [300_000]
    with pytest.raises(NNGraphsError, match="asked for bytes from 300000, got from 300007"):
        fetch_files(make_download(server.url()), tmp_path)
    assert (tmp_path / "tiny/file.bin.part").read_bytes() == CONTENT[:300_000]


@pytest.mark.parametrize("part", [b"of another version", CONTENT, CONTENT + b"more"])
def test_a_part_of_something_else_is_given_up(server, tmp_path, part):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/file.bin.part").write_bytes(part)
    fetch_files(make_download(server.url()), tmp_path)
    assert server.ranges() == [f"bytes={len(part)}-", None]
    assert (tmp_path / "tiny/file.bin").read_bytes() == CONTENT


def test_a_gzip_file_arrives_as_it_is_stored(server, tmp_path):
    content = b"\x1f\x8b not even gzip"
    server.files["file.gz"] = content
    known_hash = hashlib.sha256(content).hexdigest()
    fetch_files(make_download(server.url("file.gz"), known_hash=known_hash), tmp_path)
    assert (tmp_path / "tiny/file.gz").read_bytes() == content


def test_a_wrong_hash_names_both_and_leaves_nothing(server, tmp_path):
    with pytest.raises(NNGraphsError, match=f"expected {'0' * 64} but got {SHA256}"):
        fetch_files(make_download(server.url(), known_hash="0" * 64), tmp_path, num_tries=2)
    assert file_names(tmp_path / "tiny") == []
    assert server.ranges() == [None, None]


def test_a_damaged_file_in_place_is_reported_and_kept(server, tmp_path):
    path = fetch_files(make_download(server.url()), tmp_path) / "file.bin"
    path.write_bytes(b"damaged")
    damaged = hashlib.sha256(b"damaged").hexdigest()
    with pytest.raises(NNGraphsError, match=f"{SHA256} was expected, {damaged} was found"):
        fetch_files(make_download(server.url()), tmp_path)
    assert path.read_bytes() == b"damaged"


def test_without_a_published_hash_the_first_download_sets_it(server, tmp_path):
    download = make_download(server.url(), known_hash=None)
    folder = fetch_files(download, tmp_path)
    assert json.loads((folder / "checksums.json").read_text()) == {"file.bin": SHA256}
    fetch_files(download, tmp_path)

    server.files["file.bin"] = b"a new version"
    (folder / "file.bin").unlink()
    with pytest.raises(NNGraphsError, match=rf"expected {SHA256}.*delete .*checksums\.json"):
        fetch_files(download, tmp_path)

    (folder / "file.bin").write_bytes(CONTENT[:-1])
    with pytest.raises(NNGraphsError, match=f"{SHA256} was expected"):
        fetch_files(download, tmp_path)


@pytest.mark.parametrize("is_silent", [False, True])
def test_without_a_published_hash_a_short_transfer_is_noticed(
    server, tmp_path, monkeypatch, is_silent
):
    if is_silent:  # as urllib3 was before version 2
        stream = "urllib3.response.HTTPResponse.stream"
        monkeypatch.setattr(stream, lambda self, *args, **kwargs: iter([self.read(300_000)]))
    else:
        server.drops = [300_000]
    with pytest.raises(NNGraphsError, match=r"300000.*1024000|300000.*724000"):
        fetch_files(make_download(server.url(), known_hash=None), tmp_path, num_tries=1)
    assert file_names(tmp_path / "tiny") == ["file.bin.part"]


def test_damaged_records_are_reported(server, tmp_path):
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/checksums.json").write_text("{")
    with pytest.raises(NNGraphsError, match=r"checksums\.json is not JSON"):
        fetch_files(make_download(server.url()), tmp_path)


def test_the_next_mirror_is_asked(server, tmp_path):
    fetch_files(make_download(server.url("gone/file.bin"), server.url()), tmp_path, num_tries=1)
    assert [path for path, _ in server.requests] == ["gone/file.bin", "file.bin"]
    assert (tmp_path / "tiny/file.bin").read_bytes() == CONTENT


def test_where_all_mirrors_fail_each_is_named(server, tmp_path):
    urls = server.url("gone/file.bin"), server.url("moved/file.bin")
    with pytest.raises(NNGraphsError, match=f"{urls[0]}: 404 .*{urls[1]}: 404 "):
        fetch_files(make_download(*urls), tmp_path)
    assert len(server.requests) == 6


def make_archive(name: str, member: str) -> bytes:
    buffer = io.BytesIO()
    if name.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(member, b"inside")
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            info = tarfile.TarInfo(member)
            info.size = len(b"inside")
            archive.addfile(info, io.BytesIO(b"inside"))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["archive.zip", "archive.tar.gz"])
def test_an_archive_is_unpacked_once(server, tmp_path, name):
    server.files[name] = make_archive(name, "folder/file")
    download = make_download(server.url(name), known_hash=None, unpack=True)
    folder = fetch_files(download, tmp_path)
    assert file_names(folder) == sorted(["archive", name, "checksums.json"])
    unpacked = folder / "archive/folder/file"
    assert unpacked.read_bytes() == b"inside"
    unpacked.write_bytes(b"kept")
    fetch_files(download, tmp_path)
    assert unpacked.read_bytes() == b"kept"


@pytest.mark.parametrize(
    ("member", "num_bytes", "message"),
    [("../../escaped", None, "outside the destination"), ("file", 60, "Cannot unpack")],
    ids=["writes elsewhere", "cut"],
)
def test_a_bad_archive_is_not_unpacked(server, tmp_path, member, num_bytes, message):
    server.files["archive.tar.gz"] = make_archive("archive.tar.gz", member)[:num_bytes]
    download = make_download(server.url("archive.tar.gz"), known_hash=None, unpack=True)
    with pytest.raises(NNGraphsError, match=message):
        fetch_files(download, tmp_path)
    assert not (tmp_path / "escaped").exists()
    assert not (tmp_path / "tiny/archive").exists()


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(NNGraphsError, match="mnist, fashion_mnist"):
        fetch("imagenet", tmp_path)


def test_fetch_finds_its_entry_in_the_registry(server, tmp_path, monkeypatch):
    monkeypatch.setitem(DOWNLOADS, "tiny", make_download(server.url()))
    assert (fetch("tiny", tmp_path) / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("download", DOWNLOADS.values(), ids=str)
def test_the_registry_is_complete(download):
    assert download.licence
    assert download.citation
    for file in download.files:
        assert file.known_hash is None or len(file.known_hash.split(":")[-1]) in (32, 64)
        assert all(url.endswith("/" + file.name) for url in file.urls)
