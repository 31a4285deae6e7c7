"""Small copies of the published zoos, file by file as their publishers laid them out."""

import json
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

LAYOUT = (2, 5, 5, 1)


class DWSNetwork(nn.Module):
    """An INR with the keys, and the computation, of Navon et al.: `seq.<layer>`, +0.5."""

    def __init__(self, widths: tuple[int, ...] = LAYOUT):
        super().__init__()
        self.seq = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, values: Tensor) -> Tensor:
        for layer in self.seq[:-1]:
            values = torch.sin(30 * layer(values))
        return self.seq[-1](values) + 0.5


class SineLayer(nn.Module):
    def __init__(self, fan_in: int, width: int):
        super().__init__()
        self.linear = nn.Linear(fan_in, width)

    def forward(self, values: Tensor) -> Tensor:
        return torch.sin(30 * self.linear(values))


class NFNNetwork(nn.Module):
    """A SIREN with the keys of Zhou et al.: `net.0.linear`, `net.1.linear`, `net.2`."""

    def __init__(self, channels: int = 1):
        super().__init__()
        self.net = nn.Sequential(SineLayer(2, 5), SineLayer(5, 5), nn.Linear(5, channels))

    def forward(self, values: Tensor) -> Tensor:
        return self.net(values)


def save(content, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def numbered(module: nn.Module, number: int) -> dict[str, Tensor]:
    """A state dict that depends on a number alone; its first weight is that number."""
    generator = torch.Generator().manual_seed(number)
    for parameter in module.parameters():
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    state = module.state_dict()
    next(iter(state.values()))[0, 0] = float(number)
    return state


MNIST_IMAGES = {"train": [(7, 12), (0, 3), (4, 59_999)], "val": [(7, 1)], "test": [(9, 3), (0, 0)]}


def mnist_path(split: str, label: int, image: int) -> str:
    kind = "testing" if split == "test" else "training"
    return f"mnist_png_{kind}_{label}_{image}/checkpoints/model_final.pth"


def write_mnist(dataset: Path, *, prefix: str = "mnist-inrs/") -> Path:
    """`dataset/mnist-inrs` and `dataset/mnist_splits.json`, whose labels are strings."""
    splits = {}
    for split, images in MNIST_IMAGES.items():
        for label, image in images:
            number = image + 100_000 * (split == "test")
            path = dataset / "mnist-inrs" / mnist_path(split, label, image)
            save(numbered(DWSNetwork(), number), path)
        splits[split] = {
            "path": [prefix + mnist_path(split, *names) for names in images],
            "label": [str(label) for label, _ in images],
        }
    (dataset / "mnist_splits.json").write_text(json.dumps(splits))
    return dataset / "mnist-inrs"


FASHION_IMAGES = {"train": [8, 31, 2], "val": [40_001], "test": [8, 5]}


def fashion_path(split: str, image: int) -> str:
    return f"{'test' if split == 'test' else 'train'}/model_{image}.pth"


def write_fashion(dataset: Path) -> Path:
    """`dataset/fmnist_inrs` with `splits.json`: paths of another machine, labels in the files."""
    root = dataset / "fmnist_inrs"
    for split, images in FASHION_IMAGES.items():
        for image in images:
            state = numbered(DWSNetwork(), image + 100_000 * (split == "test"))
            save({**state, "label": image % 10}, root / fashion_path(split, image))
    there = "/cluster/home/somebody/fmnist_inrs"
    splits = {
        split: [f"{there}/{fashion_path(split, image)}" for image in images]
        for split, images in FASHION_IMAGES.items()
    }
    (root / "splits.json").write_text(json.dumps(splits))
    return root


def rewrite_fashion_splits(dataset: Path) -> Path:
    """`dataset/fmnist_splits.json`: the same in the schema of MNIST, with numbers as labels."""
    splits = {
        split: {
            "path": [f"fmnist_inrs/{fashion_path(split, image)}" for image in images],
            "label": [image % 10 for image in images],
        }
        for split, images in FASHION_IMAGES.items()
    }
    path = dataset / "fmnist_splits.json"
    path.write_text(json.dumps(splits))
    return path


def write_nfn(
    parent: Path, *, images: list[int], num_augmented: int = 0, channels: int = 1
) -> Path:
    """`parent/siren_mnist_wts`: SIRENs of these images, label = last digit; re-fits come last.

    The first weight of the re-fit `k` is 1,000,000 (k + 1) more than that of the network itself.
    """
    root = parent / "siren_mnist_wts"
    for view in range(num_augmented + 1):
        copy = f"aug{view - 1}_" if view else ""
        for image in images:
            state = numbered(NFNNetwork(channels), image + 1_000_000 * view)
            save(state, root / f"randinit_smaller_{copy}{image % 10}s" / f"net{image}.pth")
    return root
