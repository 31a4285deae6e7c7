"""Tables of labelled rows: what they may be, and reading them from files."""

import gzip

import numpy as np
import pytest

from nn_graphs.datasets import (
    LabelledDataset,
    TableDataset,
    load_dataset,
    load_images,
    load_table,
)
from nn_graphs.datasets.labelled import num_outputs
from nn_graphs.datasets.tables import read_arrays, read_rows

FEATURES = np.arange(20.0).reshape(10, 2)
NAMES = {"feature_names": ("a", "b")}


def make_table(features=FEATURES, labels=None, **options) -> TableDataset:
    labels = np.arange(float(len(features))) if labels is None else labels
    return TableDataset.shuffled("tiny", features, labels, **NAMES, **options)


def test_rows_are_shuffled_with_their_labels():
    table = make_table()
    assert table.num_train == 8
    assert table.labels.tolist() != sorted(table.labels)
    np.testing.assert_array_equal(table.features[:, 0], 2 * table.labels)
    np.testing.assert_array_equal(make_table().labels, table.labels)


def test_images_and_tables_are_one_form():
    regression, classes = make_table(), make_table(labels=np.arange(10) % 3, class_names=("x",) * 3)
    digits = load_images("digits")
    for dataset, outputs in ((regression, 1), (classes, 3), (digits, 10)):
        assert isinstance(dataset, LabelledDataset)
        assert num_outputs(dataset) == outputs
        assert len(dataset.inputs) == len(dataset.labels)
    assert digits.inputs.shape == (1797, 1, 8, 8)
    assert (classes.labels.dtype, regression.labels.dtype) == (np.int64, np.float64)


def test_data_sets_by_name(raises_saying):
    assert load_dataset("moons").name == "moons"
    assert load_dataset("digits").name == "digits"
    with raises_saying(asked="'iris'", found="no 'iris'", do="digits, mnist"):
        load_dataset("iris")
    with raises_saying(asked="table 'digits'", found="no 'digits'", do="moons"):
        load_table("digits")


@pytest.mark.parametrize(
    ("features", "labels", "found"),
    [
        (np.zeros((0, 2)), np.zeros(0), "0 of its 0 rows"),
        (np.zeros((1, 2)), np.zeros(1), "1 of its 1 rows"),
        (np.full((10, 2), np.nan), np.zeros(10), "row 0 holds"),
        (FEATURES, np.full(10, np.inf), "row 0 holds"),
        (np.zeros((10, 3)), np.zeros(10), "features are 10 x 3"),
        (FEATURES, np.zeros(11), "there are 11 labels"),
    ],
)
def test_tables_that_are_none(raises_saying, features, labels, found):
    with raises_saying(asked="tiny as a table", found=found, do="one finite row"):
        make_table(features, labels)


def test_labels_that_are_no_class(raises_saying):
    with raises_saying(asked="tiny", found="is 3, of 3 classes", do="one label"):
        make_table(labels=np.arange(10) % 4, class_names=("x",) * 3)


def write(path, text):
    path.write_text(text)
    return path


def test_rows_of_text_plain_and_packed(tmp_path):
    plain = write(tmp_path / "rows.data", "1,2\n3.5,-4\n")
    packed = tmp_path / "rows.data.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (plain, packed):
        assert read_rows(path, num_columns=2).tolist() == [[1, 2], [3.5, -4]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no rows of 2 numbers"),
        ("1,2\n3\n", "row 2 has 1 numbers"),
        ("1,2\n3,4,5\n", "no rows of 2 numbers"),
        ("1,2,3\n4,5,6\n", "row 1 has 3 numbers"),
        ("1,two\n", "no rows of 2 numbers"),
    ],
)
def test_ragged_and_empty_rows_are_refused(tmp_path, raises_saying, text, found):
    path = write(tmp_path / "rows.data", text)
    with raises_saying(asked="rows.data", found=found, do="data/download.py"):
        read_rows(path, num_columns=2)


def test_a_packed_file_that_breaks_off(tmp_path, raises_saying):
    path = tmp_path / "rows.data.gz"
    path.write_bytes(gzip.compress(b"1,2\n" * 1000)[:-8])
    with raises_saying(asked="rows.data.gz", found="no rows", do="Delete it"):
        read_rows(path, num_columns=2)


def test_arrays_of_an_archive(tmp_path, raises_saying):
    path = tmp_path / "rows.npz"
    np.savez(path, x=np.zeros((3, 2)), y=np.zeros(3), z=np.zeros(4))
    assert read_arrays(path, ("x", "y"))["x"].shape == (3, 2)
    with raises_saying(asked="rows.npz", found="'z': 4", do="Delete it"):
        read_arrays(path, ("x", "z"))
    with raises_saying(asked="rows.npz", found="arrays x w", do="Delete it"):
        read_arrays(path, ("x", "w"))
    path.write_bytes(path.read_bytes()[:100])
    with raises_saying(asked="rows.npz", found="no archive", do="Delete it"):
        read_arrays(path, ("x",))
