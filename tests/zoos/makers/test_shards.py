"""Shards: whole or not there, merged in order, and only by the recipe that began them."""

import numpy as np
import pytest

from nn_graphs.zoos.makers.shards import Shards

RECIPE = {"dataset": "digits", "hidden_widths": (8, 8), "seed": 0}


def open_shards(folder, *, recipe=RECIPE, shard_size=4):
    return Shards.open(folder / "zoo.h5", recipe, num_networks=10, shard_size=shard_size)


def make_arrays(start: int, stop: int) -> dict[str, np.ndarray]:
    numbers = np.arange(start, stop, dtype=np.float32)
    return {"params": np.stack([numbers, -numbers], axis=1), "step": np.arange(start, stop)}


def test_shards_in_any_order_are_read_in_the_networks_order(tmp_path):
    shards = open_shards(tmp_path)
    assert shards.missing() == [(0, 4), (4, 8), (8, 10)]
    for start, stop in [(8, 10), (0, 4), (4, 8)]:
        shards.write(start, make_arrays(start, stop))
    assert (shards.missing(), shards.num_done) == ([], 10)
    merged = shards.read()
    assert list(merged) == ["params", "step"]
    for name, values in make_arrays(0, 10).items():
        np.testing.assert_array_equal(merged[name], values)
        assert merged[name].dtype == values.dtype


def test_goes_on_behind_whole_shards_with_their_size(tmp_path):
    open_shards(tmp_path).write(4, make_arrays(4, 8))
    again = open_shards(tmp_path, shard_size=3)
    assert again.shard_size == 4
    assert again.missing() == [(0, 4), (8, 10)]
    assert again.num_done == 4


def test_half_written_shard_does_not_count(tmp_path, monkeypatch):
    shards = open_shards(tmp_path)
    shards.write(0, make_arrays(0, 4))

    def interrupt(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez", interrupt)
        with pytest.raises(KeyboardInterrupt):
            shards.write(4, make_arrays(4, 8))
    assert open_shards(tmp_path).missing() == [(4, 8), (8, 10)]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"seed": 1}, "(seed was 0, now 1)"),
        (
            {"dataset": "mnist", "hidden_widths": (16,)},
            "(dataset was 'digits', now 'mnist', hidden_widths was [8, 8], now [16])",
        ),
        ({"num_inits": 2}, "(num_inits was None, now 2)"),
    ],
)
def test_shards_of_another_recipe(tmp_path, raises_saying, change, found):
    folder = open_shards(tmp_path).folder
    do = f"Repeat the options of the interrupted run, or delete {folder}"
    with raises_saying(asked=f"zoo {tmp_path / 'zoo.h5'}", found=found, do=do):
        open_shards(tmp_path, recipe={**RECIPE, **change})


def test_remove_leaves_nothing(tmp_path):
    shards = open_shards(tmp_path)
    shards.write(0, make_arrays(0, 4))
    shards.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_can_be_no_file_is_told_before_the_work(tmp_path, raises_saying):
    (tmp_path / "zoo.h5").mkdir()
    with raises_saying(asked="zoo.h5", found="this is a folder", do="path of a file"):
        open_shards(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["zoo.h5"]
