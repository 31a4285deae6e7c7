"""Transfers that break off, and servers that send something else."""

import hashlib
import re

import pytest

from nn_graphs.download import fetch_files
from nn_graphs.download.transfer import web_page_title
from nn_graphs.errors import NNGraphsError
from tests.download.server import CONTENT, PAGE, SHA256, file_names, make_download


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


@pytest.mark.parametrize("known_hash", [SHA256, None], ids=["hash", "no hash"])
def test_a_web_page_instead_of_a_file_is_named_and_not_kept(server, tmp_path, known_hash):
    server.files["file.bin"] = PAGE
    download = make_download(server.url(), known_hash=known_hash)
    found = re.escape("file.bin: a web page (Drive \u2014 Quota exceeded) came instead of the file")
    with pytest.raises(NNGraphsError, match=found):
        fetch_files(download, tmp_path)
    assert server.ranges() == [None]  # asking again would bring it again
    assert file_names(tmp_path / "tiny") == []

    server.files["file.bin"] = CONTENT
    fetch_files(download, tmp_path)
    assert (tmp_path / "tiny/file.bin").read_bytes() == CONTENT


def test_a_web_page_leaves_the_part_for_a_later_call(server, tmp_path):
    server.drops = [300_000]
    with pytest.raises(NNGraphsError):
        fetch_files(make_download(server.url()), tmp_path, num_tries=1)
    server.files["file.bin"], server.has_range = PAGE, False
    with pytest.raises(NNGraphsError, match="Quota exceeded"):
        fetch_files(make_download(server.url()), tmp_path)
    server.files["file.bin"], server.has_range = CONTENT, True
    fetch_files(make_download(server.url()), tmp_path)
    assert server.ranges()[1:] == ["bytes=300000-"] * 2


def test_where_one_mirror_sends_a_web_page_the_next_is_asked(server, tmp_path):
    server.files["login/file.bin"] = PAGE
    fetch_files(make_download(server.url("login/file.bin"), server.url()), tmp_path)
    assert [path for path, _ in server.requests] == ["login/file.bin", "file.bin"]


@pytest.mark.parametrize(
    ("start", "title"),
    [
        (PAGE, "Drive \u2014 Quota exceeded"),
        (b"\xef\xbb\xbf<HTML><TITLE lang=de>Anmelden</TITLE>", "Anmelden"),
        (b"<html><body>no title", "untitled"),
        (b"", None),
        (b"PK\x03\x04 <html><title>in an archive</title>", None),
        (b'<?xml version="1.0"?><html/>', None),
    ],
)
def test_web_pages_are_told_from_files(start, title):
    assert web_page_title(start) == title
