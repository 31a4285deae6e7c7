"""Files know no device: what was trained on one is read on another; batches of zoos go there."""

import numpy as np
import pytest
import torch

from nn_graphs.encoders.embedding import embed
from nn_graphs.encoders.encoder_files import load_encoder, save_encoder
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.zoos.zoo import Zoo
from tests.accelerators.both_places import there
from tests.encoders.test_embedding import make_encoder, make_zoo
from tests.toy_zoos import mixed_zoo, separable_zoo


def test_encoder_files(device, tmp_path):
    encoder, zoo = make_encoder(), make_zoo()
    here = save_encoder(encoder, tmp_path / "here.safetensors")
    moved = save_encoder(there(encoder, device), tmp_path / "there.safetensors")
    assert here.read_bytes() == moved.read_bytes()
    loaded = load_encoder(moved)
    assert {value.device.type for value in loaded.state_dict().values()} == {"cpu"}
    found = embed(loaded.to(device), zoo, block_size=4)
    np.testing.assert_allclose(found, embed(encoder, zoo), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [separable_zoo, mixed_zoo])
def test_batches_of_zoos(device, tmp_path, make):
    make().save(tmp_path / "zoo.h5")
    task = INRClassification(Zoo.open(tmp_path / "zoo.h5"))
    dataset = task.dataset("train")
    graphs, labels = there(dataset.batch(range(6)), device)
    assert {labels.device, graphs.node_features.device, graphs.edge_features.device} == {device}
    assert graphs.structure.edge_index.device == device
    for graph in graphs if make is separable_zoo else graphs.to_data_list():
        assert graph.edge_index.device == device


def test_zoos_are_written_from_parameters_on_a_device(device, tmp_path):
    zoo = separable_zoo()
    moved = Zoo.single(zoo.spec, zoo.params[0].to(device), zoo.table)
    moved.save(tmp_path / "zoo.h5")
    assert torch.equal(Zoo.open(tmp_path / "zoo.h5").params[0], zoo.params[0])
