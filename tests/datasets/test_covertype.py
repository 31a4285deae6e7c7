"""Forest covertype from the publisher's file and from the compact one."""

import gzip

import numpy as np
import pytest

from nn_graphs.datasets import load_table

NUM_ROWS = 15


def make_parts(covers=None) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(1)
    covers = np.arange(NUM_ROWS) % 7 + 1 if covers is None else covers
    return {
        "num_sample": generator.integers(-100, 4000, (NUM_ROWS, 10), dtype=np.int16),
        "wilderness_sample": generator.integers(0, 4, NUM_ROWS, dtype=np.uint8),
        "soil_sample": generator.integers(0, 40, NUM_ROWS, dtype=np.uint8),
        "y_sample": np.asarray(covers, np.uint8),
    }


def publish(root, parts, *, is_packed):
    """As UCI has it: a row a line, areas and soils as columns of zeros and ones."""
    rows = [
        [
            *measures,
            *(int(area == number) for number in range(4)),
            *(int(soil == number) for number in range(40)),
            cover,
        ]
        for measures, area, soil, cover in zip(*parts.values(), strict=True)
    ]
    text = "".join(",".join(map(str, row)) + "\n" for row in rows).encode()
    folder = root / "covertype"
    folder.mkdir(parents=True, exist_ok=True)
    name = "covtype.data.gz" if is_packed else "covtype.data"
    (folder / name).write_bytes(gzip.compress(text) if is_packed else text)


@pytest.mark.parametrize("is_packed", [True, False])
def test_published_and_compact_rows_are_the_same(tmp_path, is_packed):
    parts = make_parts()
    publish(tmp_path / "published", parts, is_packed=is_packed)
    (tmp_path / "compact").mkdir()
    np.savez(tmp_path / "compact" / "covtype.npz", **parts)
    published = load_table("covertype", tmp_path / "published")
    compact = load_table("covertype", tmp_path / "compact")
    np.testing.assert_array_equal(published.features, compact.features)
    np.testing.assert_array_equal(published.labels, compact.labels)
    assert published.features.shape == (NUM_ROWS, 54)
    assert published.num_train == 12
    order = np.random.default_rng(0).permutation(NUM_ROWS)
    np.testing.assert_array_equal(published.features[:, :10], parts["num_sample"][order])
    np.testing.assert_array_equal(
        published.features[:, 10:14].argmax(1), parts["wilderness_sample"][order]
    )
    np.testing.assert_array_equal(published.features[:, 14:].argmax(1), parts["soil_sample"][order])
    np.testing.assert_array_equal(published.labels, parts["y_sample"][order] - 1)


def test_a_missing_file_is_named(tmp_path, raises_saying):
    with raises_saying(asked="covertype", found="covtype.data.gz", do="download.py covertype"):
        load_table("covertype", tmp_path)


def test_damaged_files(tmp_path, raises_saying):
    publish(tmp_path, make_parts(covers=[8] * NUM_ROWS), is_packed=False)
    with raises_saying(asked="covtype.data", found="the cover of row 1 is 8", do="Delete it"):
        load_table("covertype", tmp_path)
    compact, parts = tmp_path / "compact", make_parts()
    compact.mkdir()
    wrong = {
        "areas go up to": {"wilderness_sample": np.full(NUM_ROWS, 4, np.uint8)},
        "not of 10 columns": {"num_sample": np.zeros((NUM_ROWS, 9), np.int16)},
        "numbers of rows": {"y_sample": np.ones(3, np.uint8)},
    }
    for found, change in wrong.items():
        np.savez(compact / "covtype.npz", **(parts | change))
        with raises_saying(asked="covtype.npz", found=found, do="Delete it"):
            load_table("covertype", compact)


@pytest.mark.data
def test_the_rows_that_are_there():
    table = load_table("covertype")
    shares = np.bincount(table.labels) / len(table.labels)
    published = [211_840, 283_301, 35_754, 2_747, 9_493, 17_367, 20_510]
    np.testing.assert_allclose(shares, np.array(published) / 581_012, atol=0.01)
