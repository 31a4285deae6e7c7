"""SIREN zoos of Zhou et al.: splits by image number, and re-fits that never replace a network."""

import pytest
import torch

from nn_graphs.networks.inr import inr_preset
from nn_graphs.networks.stacked import stacked_forward
from nn_graphs.zoos.readers.nfn_sirens import NFNSirens
from nn_graphs.zoos.readers.read_report import Reason
from nn_graphs.zoos.readers.read_zoo import read_zoo
from tests.zoos.readers.published import NFNNetwork, numbered, save, write_nfn

POINTS = (3, 5, 8)
IMAGES = list(range(8))


def test_published_split_points(tmp_path):
    images = [0, 44_999, 45_000, 49_999, 50_000, 59_999, 60_000, 69_999]
    zoo, report = read_zoo(NFNSirens(write_nfn(tmp_path, images=images)))
    assert zoo.table["source_id"].tolist() == images[:-2]
    assert zoo.table["label"].tolist() == [image % 10 for image in images[:-2]]
    assert zoo.table["split"].tolist() == ["train"] * 2 + ["val"] * 2 + ["test"] * 2
    outside = [skip.path.name for skip in report.skips if skip.reason is Reason.OUTSIDE]
    assert outside == ["net60000.pth", "net69999.pth"]
    assert report.counts()[Reason.MISSING.value] == 60_000 - 6  # the others are not there


def test_augmented_networks_do_not_replace_the_base(tmp_path):
    zoo, report = read_zoo(
        NFNSirens(write_nfn(tmp_path, images=IMAGES, num_augmented=11), split_points=POINTS)
    )
    assert zoo.params[0][:, 0].tolist() == IMAGES
    assert zoo.table["view"].tolist() == [0] * 8
    assert report.skips == ()


def test_augmented_networks_are_views_of_training_images(tmp_path):
    root = write_nfn(tmp_path, images=IMAGES, num_augmented=11)
    zoo, report = read_zoo(NFNSirens(root, num_augmented=2, split_points=POINTS))
    views = [*[(0, image) for image in IMAGES], *[(v, i) for v in (1, 2) for i in (0, 1, 2)]]
    assert list(zip(zoo.table["view"], zoo.table["source_id"], strict=True)) == views
    assert zoo.params[0][:, 0].tolist() == [1_000_000 * view + image for view, image in views]
    assert set(zoo.table["split"][zoo.table["view"] > 0]) == {"train"}
    assert zoo.table["run"].tolist() == list(range(14))
    assert report.skips == ()


def test_more_views_than_there_are(tmp_path, raises_saying):
    root = write_nfn(tmp_path, images=IMAGES, num_augmented=2)
    with raises_saying(asked="3 re-fits", found="randinit_smaller_aug2_<label>s", do="as many"):
        read_zoo(NFNSirens(root, num_augmented=3))


def test_strange_files(tmp_path):
    root = write_nfn(tmp_path, images=IMAGES)
    state = numbered(NFNNetwork(), 1)
    save(state, root / "randinit_smaller_2s/best.pth")
    save(state, root / "randinit_smaller_9s/net4.pth")  # image 4 is of class 4
    save(state, root / "randinit_smaller_old_3s/net3.pth")
    (root / "randinit_smaller_6s/net6.pth").unlink()
    zoo, report = read_zoo(NFNSirens(root, split_points=POINTS))
    assert zoo.table["source_id"].tolist() == [0, 1, 2, 3, 5, 7]
    assert sorted((skip.reason.name, skip.path.name) for skip in report.skips) == [
        ("LABEL", "net4.pth"),
        ("LABEL", "net4.pth"),
        ("MISSING", "net6.pth"),
        ("NAME", "best.pth"),
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_outputs_are_those_of_the_published_module(tmp_path, channels):
    root = write_nfn(tmp_path, images=IMAGES, channels=channels)
    zoo, _ = read_zoo(NFNSirens(root, split_points=POINTS))
    coordinates = inr_preset("nfn").coordinates(3, 4)
    lines, columns = torch.meshgrid(
        torch.linspace(-1, 1, 3), torch.linspace(-1, 1, 4), indexing="ij"
    )
    assert torch.equal(coordinates, torch.stack([lines, columns], dim=-1).reshape(-1, 2))
    outputs = stacked_forward(zoo.spec, zoo.params[0], coordinates)
    for row, path in enumerate(zoo.table["path"]):
        network = NFNNetwork(channels)
        network.load_state_dict(torch.load(root / path, weights_only=True))
        torch.testing.assert_close(outputs[row], network(coordinates))


def test_images_by_the_name_of_the_folder(tmp_path, raises_saying):
    assert NFNSirens("data/siren_cifar_wts").dataset == "cifar10"
    assert NFNSirens("data/siren_fashion_wts/").image_size == (28, 28)
    assert NFNSirens("mine", image_dataset="cifar10").image_size == (32, 32)
    with raises_saying(asked="mine", found="of which images", do="cifar10"):
        _ = NFNSirens("mine").dataset


@pytest.mark.parametrize("exists", [True, False])
def test_no_networks(tmp_path, raises_saying, exists):
    root = tmp_path / "siren_mnist_wts"
    if exists:
        save(numbered(NFNNetwork(), 1), root / "randinit_smaller_aug0_1s/net1.pth")
    found = "no networks in randinit_smaller_<label>s" if exists else "no such folder"
    with raises_saying(asked=str(root), found=found, do="siren_<mnist|fashion|cifar>_wts.tar"):
        read_zoo(NFNSirens(root))
