"""Hashes, mirrors, and files that must be fetched by hand."""

import hashlib
import json

import pytest

from nn_graphs.download import fetch_files
from nn_graphs.download.files import Download, RemoteFile
from nn_graphs.errors import NNGraphsError
from tests.download.server import CONTENT, PAGE, SHA256, file_names, make_archive, make_download

OFFERED = "https://example.org/zoo"


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


def test_what_another_process_downloads_is_waited_for(server, tmp_path, other_writer):
    first = fetch_files(make_download(server.url()), tmp_path / "first")
    folder = tmp_path / "second" / "tiny"
    folder.mkdir(parents=True)
    other_writer(folder, {first / "file.bin": folder / "file.bin"})
    fetch_files(make_download(server.url()), tmp_path / "second")
    assert server.ranges() == [None]  # by the first alone


def test_a_full_disk_is_told(server, tmp_path, raises_saying):
    folder = tmp_path / "tiny"
    folder.mkdir()
    (folder / "file.bin.part").symlink_to("/dev/full")
    with raises_saying(asked="write", found="full", do="Make room"):
        fetch_files(make_download(server.url()), tmp_path)


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


def by_hand(*, known_hash: str | None = None, name: str = "zoo.tar"):
    return make_download(name=name, page=OFFERED, known_hash=known_hash, unpack=True)


def test_a_file_by_hand_is_asked_for(tmp_path, raises_saying):
    path = tmp_path / "tiny/zoo.tar"
    with raises_saying(
        asked="download zoo.tar",
        found=f"there is no {path}",
        do=f"Open {OFFERED} in a browser, save zoo.tar as {path}, and ask again.",
    ):
        fetch_files(by_hand(), tmp_path)
    assert path.parent.is_dir()


def test_a_file_put_there_by_hand_is_remembered_and_unpacked(tmp_path):
    archive = make_archive("zoo.tar", {"zoo/net.pth": b"weights"})
    (tmp_path / "tiny").mkdir()
    path = tmp_path / "tiny/zoo.tar"
    path.write_bytes(archive)
    for _ in range(2):
        folder = fetch_files(by_hand(), tmp_path)
        assert file_names(folder) == ["checksums.json", "zoo", "zoo.tar"]
        assert (folder / "zoo/net.pth").read_bytes() == b"weights"
    sha256 = hashlib.sha256(archive).hexdigest()
    assert json.loads((folder / "checksums.json").read_text()) == {"zoo.tar": sha256}

    path.write_bytes(make_archive("zoo.tar", {"zoo/net.pth": b"others"}))
    with pytest.raises(NNGraphsError, match=f"{sha256} was expected.* fetch it again"):
        fetch_files(by_hand(), tmp_path)


@pytest.mark.parametrize(
    ("content", "known_hash", "message"),
    [
        (PAGE, None, r"zoo\.tar: it is a web page \(Drive — Quota exceeded\)\."),
        (PAGE, SHA256, "it is a web page"),
        (b"another version", SHA256, f"the hash {SHA256} was expected"),
    ],
)
def test_a_wrong_file_put_there_by_hand_is_reported_and_kept(
    tmp_path, content, known_hash, message
):
    path = tmp_path / "tiny/zoo.tar"
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(NNGraphsError, match=message):
        fetch_files(by_hand(known_hash=known_hash), tmp_path)
    assert file_names(path.parent) == ["zoo.tar"]


def test_where_the_urls_fail_the_page_is_named(server, tmp_path):
    download = make_download(server.url("gone/file.bin"), page=OFFERED)
    path = tmp_path / "tiny/file.bin"
    with pytest.raises(NNGraphsError, match=f"Or open {OFFERED} .* save file.bin as {path}"):
        fetch_files(download, tmp_path)
    path.write_bytes(CONTENT)
    fetch_files(download, tmp_path)


def test_an_unpacked_archive_may_be_deleted(server, tmp_path):
    server.files["zoo.tar"] = make_archive("zoo.tar", {"zoo/net.pth": b"weights"})
    download = make_download(server.url("zoo.tar"), known_hash=None, unpack=True)
    folder = fetch_files(download, tmp_path)
    (folder / "zoo.tar").unlink()
    assert fetch_files(download, tmp_path) == folder
    assert server.ranges() == [None]
    assert file_names(folder) == ["checksums.json", "zoo"]


def test_of_several_files_only_archives_are_unpacked(server, tmp_path):
    server.files["zoo.tar.xz"] = make_archive("zoo.tar.xz", {"zoo/net.pth": b"weights"})
    server.files["split.csv"] = b"0\n1\n"
    names = ("zoo.tar.xz", "split.csv")
    files = tuple(RemoteFile(name, urls=(server.url(name),)) for name in names)
    download = Download("tiny", files=files, licence="none", citation="none", unpack=True)
    for _ in range(2):
        folder = fetch_files(download, tmp_path)
        assert file_names(folder) == ["checksums.json", "split.csv", "zoo", "zoo.tar.xz"]
    assert (folder / "zoo/net.pth").read_bytes() == b"weights"
