"""The downloads by name."""

import pytest

from nn_graphs.datasets import DATASETS, TABLES
from nn_graphs.download import DOWNLOADS, fetch
from nn_graphs.download.files import google_drive_url
from nn_graphs.errors import NNGraphsError
from tests.download.server import CONTENT, make_download

FIGSHARE = "https://ndownloader.figshare.com/files/"  # and a number


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(NNGraphsError, match="mnist, fashion_mnist, cifar10"):
        fetch("imagenet", tmp_path)


def test_fetch_finds_its_entry_in_the_registry(server, tmp_path, monkeypatch):
    monkeypatch.setitem(DOWNLOADS, "tiny", make_download(server.url()))
    assert (fetch("tiny", tmp_path) / "file.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("download", DOWNLOADS.values(), ids=lambda download: download.name)
def test_the_registry_is_complete(download):
    assert download.licence
    assert download.citation
    for file in download.files:
        assert file.known_hash is None or len(file.known_hash.split(":")[-1]) in (32, 64)
        assert file.urls or file.page
        for url in file.urls:
            is_by_number = url.startswith((google_drive_url("").partition("?")[0], FIGSHARE))
            assert is_by_number or url.partition("?")[0].endswith("/" + file.name)


def test_a_hash_that_is_not_published_is_not_required():
    unpublished = {
        name for name in DOWNLOADS if any(not f.known_hash for f in DOWNLOADS[name].files)
    }
    zoos_and_results = {
        "graph2nn",
        "mnist_inrs",
        "fashion_mnist_inrs",
        "siren_mnist",
        "siren_fashion_mnist",
        "siren_cifar10",
        "small_cnn_zoo_cifar10",
        "small_cnn_zoo_svhn",
        "small_cnn_zoo_mnist",
        "small_cnn_zoo_fashion_mnist",
        "cnn_wild_park",
    }
    assert unpublished == zoos_and_results


def test_every_data_set_that_has_files_has_a_download():
    assert {*DATASETS, *TABLES} - set(DOWNLOADS) == {"digits", "moons"}


def test_google_drive_url_answers_the_question_of_large_files():
    url = google_drive_url("abc-1")
    assert url.endswith("/download?id=abc-1&export=download&confirm=t")


def test_split_files_come_with_their_zoos():
    """Archives without them cannot be read as published."""
    for name, split_file in (
        ("mnist_inrs", "mnist_splits.json"),
        ("cnn_wild_park", "cnn_park_splits.json"),
        ("small_cnn_zoo_cifar10", "cifar10_split.csv"),
    ):
        files = {file.name: file for file in DOWNLOADS[name].files}
        assert files[split_file].urls
