"""Files of learned updates: they come back, and what is no such file is told."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from nn_graphs.learned_optimizers.registry import UPDATES, describe_update, make_update
from nn_graphs.learned_optimizers.update_files import (
    FILE,
    load_update,
    origin_of,
    save_update,
    shipped_update,
)


@pytest.fixture
def path(tmp_path):
    update = make_update("mlp")
    return save_update(update, update.initial_weights(0), tmp_path / "mlp.safetensors")


@pytest.mark.parametrize("name", UPDATES)
def test_every_update_comes_back(name, tmp_path):
    update = make_update(name)
    weights = update.initial_weights(3)
    path = save_update(update, weights, tmp_path / "new" / "a.safetensors", origin={"steps": 3})
    found, again = load_update(path)
    assert found == update
    assert torch.equal(again, weights)
    assert origin_of(path) == {"steps": 3}
    assert [file.name for file in path.parent.iterdir()] == ["a.safetensors"]
    assert b"pickle" not in path.read_bytes()


def test_shipped_updates_are_small_and_say_how_they_were_learned(raises_saying):
    path = shipped_update()
    _, weights = load_update(path)
    assert weights.isfinite().all()
    assert path.stat().st_size < 300_000
    assert "command" in origin_of(path)
    with raises_saying(asked="'velo' in the package", found="no 'velo'", do=path.stem):
        shipped_update("velo")


def test_weights_of_another_update_are_not_saved(path, raises_saying):
    with raises_saying(asked="1762", found="3 are given", do="same features"):
        save_update(make_update("mlp"), torch.zeros(3), path)


def rewrite(path, record=None, tensors=None):
    metadata = {} if record is None else {FILE.key: json.dumps(record)}
    save_file(load_file(path) if tensors is None else tensors, path, metadata)


def test_a_file_for_other_features_is_refused(path, raises_saying):
    described = describe_update(make_update("mlp"))
    described["features"] = describe_update(make_update("published_ff"))["features"]
    rewrite(path, {"format": 1, "nn_graphs": "0", "update": described})
    with raises_saying(asked=str(path), found="[1762], those of", do="save_update"):
        load_update(path)
    described["features"]["kind"] = "features_of_tomorrow"
    rewrite(path, {"format": 1, "nn_graphs": "0", "update": described})
    with raises_saying(asked="features", found="features_of_tomorrow", do="momentum_features"):
        load_update(path)


def test_what_is_no_such_file_is_told(path, tmp_path, raises_saying):
    with raises_saying(asked="nowhere", found="no such file", do="shipped_update"):
        load_update(tmp_path / "nowhere")
    rewrite(path, {"format": 2, "nn_graphs": "9.0"})
    with raises_saying(asked=str(path), found="format 2, written by nn_graphs 9.0", do="version"):
        load_update(path)
    update = describe_update(make_update("mlp"))
    rewrite(path, {"format": 1, "update": update}, {"others": torch.zeros(2)})
    with raises_saying(asked=str(path), found="its weights are none", do="save_update"):
        load_update(path)
    rewrite(path)
    with raises_saying(asked=str(path), found="not say of which", do="save_update"):
        load_update(path)
    rewrite(path, [3])
    with raises_saying(asked=str(path), found="metadata cannot be read", do="Copy"):
        load_update(path)
    path.write_bytes(path.read_bytes()[:100])
    with raises_saying(asked=str(path), found="truncated", do="Copy"):
        load_update(path)


def test_no_file_can_be_there(tmp_path, raises_saying):
    (tmp_path / "file").touch()
    update = make_update("mlp")
    with raises_saying(asked="save", found="cannot be written", do="another path"):
        save_update(update, update.initial_weights(0), tmp_path / "file" / "a.safetensors")
