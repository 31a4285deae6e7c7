"""A CNN Wild Park in small, with the files that its authors' training writes."""

import json
import zipfile
from pathlib import Path

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

FUNCTIONS = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "leaky_relu": nn.functional.leaky_relu,
}
CONFIGS = (
    {
        "n_layers": 2,
        "n_classes": 10,
        "channels": [3, 4, 8],
        "kernel_size": [3, 5],
        "stride": [1, 1],
        "padding": [1, 2],
        "residual": [-1, -1],
        "activation": ["relu", "gelu"],
    },
    {
        "n_layers": 4,
        "n_classes": 10,
        "channels": [3, 8, 4, 4, 8],
        "kernel_size": [7, 3, 3, 5],
        "stride": [1, 1, 1, 1],
        "padding": [3, 1, 1, 2],
        "residual": [-1, -1, 0, 1],
        "activation": ["tanh", "sigmoid", "leaky_relu", "relu"],
    },
)


class CNN(nn.Module):
    """The network of a configuration: a residual is added before the activation."""

    def __init__(self, config: dict):
        super().__init__()
        self.config, channels = config, config["channels"]
        sizes = zip(config["kernel_size"], config["stride"], config["padding"], strict=True)
        self.layers = nn.ModuleList(
            nn.Conv2d(channels[at], channels[at + 1], size, stride=stride, padding=padding)
            for at, (size, stride, padding) in enumerate(sizes)
        )
        self.fc = nn.Linear(channels[-1], config["n_classes"])

    def forward(self, values: Tensor) -> Tensor:
        outputs = []
        for at, layer in enumerate(self.layers):
            values, source = layer(values), self.config["residual"][at]
            if source >= 0:
                shared = min(values.shape[1], outputs[source].shape[1])
                values = values.clone()
                values[:, :shared] += outputs[source][:, :shared]
            values = FUNCTIONS[self.config["activation"][at]](values)
            outputs.append(values)
        return self.fc(values.mean(dim=(2, 3)))


def checkpoint(config: dict, epoch: int, *, seed: int) -> tuple[CNN, dict]:
    torch.manual_seed(seed)
    module = CNN(config)
    settings = OmegaConf.create(  # the whole of it hangs on the part that is stored
        {"model": config, "data": {"root": Path("/data"), "copy": "${data.root}"}, "lr": 1e-3}
    )
    optimizer = torch.optim.AdamW(module.parameters())
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    content = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "config": settings.model,
        "iteration": epoch,
        "last_result": {"test/acc": accuracy(seed), "test/loss": 2.0, "date": "2023-05-01"},
    }
    return module, content


def accuracy(seed: int) -> float:
    return 0.1 + 0.01 * seed


def write_park(parent: Path, *, num_runs: int = 8, epochs: tuple[int, ...] = (10, 20)) -> Path:
    """`parent/cifar10_zooV2`; the run `k` has the configuration `k % 2`."""
    for run in range(num_runs):
        for place, epoch in enumerate(epochs):
            _, content = checkpoint(CONFIGS[run % 2], epoch, seed=10 * run + place)
            path = checkpoint_path(parent, run, epoch)
            path.parent.mkdir(parents=True)
            torch.save(content, path)
    return parent / "cifar10_zooV2"


def checkpoint_path(parent: Path, run: int, epoch: int) -> Path:
    name = f"NN_tune_trainable_{run:05d}"
    return parent / "cifar10_zooV2" / name / f"checkpoint_{epoch:06d}" / "checkpoint.pt"


def write_splits(parent: Path, runs: dict[str, list[int]], epochs=(10, 20)) -> Path:
    """`parent/cnn_park_splits.json` of these runs, paths as on the authors' machine."""
    content = {}
    for split, members in runs.items():
        pairs = [(run, place) for run in members for place in range(len(epochs))]
        content[split] = {
            "path": [
                checkpoint_path(Path("dataset"), run, epochs[place]).as_posix()
                for run, place in pairs
            ],
            "score": [accuracy(10 * run + place) for run, place in pairs],
            "step": [epochs[place] for _, place in pairs],
        }
    path = parent / "cnn_park_splits.json"
    path.write_text(json.dumps(content))
    return path


def zipped(folder: Path) -> Path:
    """The folder as `<parent>/cnn_wild_park.zip`, with the folder in it."""
    path = folder.parent / "cnn_wild_park.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder.parent))
    return path
