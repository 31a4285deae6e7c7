"""California housing from the publisher's file and from the compact one."""

import numpy as np
import pytest

from nn_graphs.datasets import load_table

ROWS = np.array(
    [
        [-122.0, 37.0, 41.0, 880.0, 129.0, 322.0, 126.0, 8.0, 452_600.0],
        [-121.0, 38.0, 21.0, 7099.0, 1106.0, 2401.0, 1138.0, 8.5, 358_500.0],
        [-120.0, 36.0, 52.0, 1467.0, 190.0, 496.0, 177.0, 7.25, 352_100.0],
        [-119.0, 35.0, 50.0, 1274.0, 235.0, 558.0, 219.0, 5.5, 341_300.0],
        [-118.0, 34.0, 49.0, 1627.0, 280.0, 565.0, 259.0, 3.75, 342_200.0],
    ]
)


def write_published(root, rows=ROWS, folder="california_housing/cal_housing"):
    (root / folder).mkdir(parents=True, exist_ok=True)
    np.savetxt(root / folder / "cal_housing.data", rows, delimiter=",", fmt="%f")


@pytest.mark.parametrize("folder", ["california_housing/cal_housing", "CaliforniaHousing"])
def test_features_are_those_of_scikit_learn(tmp_path, folder):
    write_published(tmp_path, folder=folder)
    table = load_table("california_housing", tmp_path)
    order = np.random.default_rng(0).permutation(5)
    longitude, latitude, age, rooms, bedrooms, people, households, income, value = ROWS[order].T
    expected = [income, age, rooms / households, bedrooms / households, people]
    expected += [people / households, latitude, longitude]
    np.testing.assert_array_equal(table.features, np.stack(expected, 1).astype(np.float32))
    np.testing.assert_array_equal(table.labels, value / 100_000)
    assert (table.num_train, table.class_names) == (4, ())


def test_the_compact_file_gives_the_same(tmp_path):
    (tmp_path / "compact").mkdir()
    np.savez(tmp_path / "compact" / "california_housing.npz", raw=ROWS)
    write_published(tmp_path)
    compact = load_table("california_housing", tmp_path / "compact")
    published = load_table("california_housing", tmp_path)
    np.testing.assert_array_equal(compact.features, published.features)
    np.testing.assert_array_equal(compact.labels, published.labels)


def test_a_missing_file_is_named(tmp_path, raises_saying):
    with raises_saying(
        asked="california_housing", found="cal_housing.data", do="download.py california_housing"
    ):
        load_table("california_housing", tmp_path)


def test_damaged_files(tmp_path, raises_saying):
    empty = ROWS.copy()
    empty[2, 6] = 0
    write_published(tmp_path, empty)
    with raises_saying(asked="cal_housing.data", found="row 3 has 0 households", do="Delete it"):
        load_table("california_housing", tmp_path)
    write_published(tmp_path, ROWS[:, :8])
    with raises_saying(asked="cal_housing.data", found="row 1 has 8 numbers", do="Delete it"):
        load_table("california_housing", tmp_path)
    (tmp_path / "compact").mkdir()
    np.savez(tmp_path / "compact" / "california_housing.npz", raw=ROWS[:, :8])
    with raises_saying(asked="california_housing.npz", found="nine columns", do="Delete it"):
        load_table("california_housing", tmp_path / "compact")


@pytest.mark.data
def test_the_published_rows():
    table = load_table("california_housing")
    assert table.features.shape == (20_640, 8)
    assert (table.labels > 5).sum() == 965
    assert table.labels.mean() == pytest.approx(2.06856, abs=1e-5)
