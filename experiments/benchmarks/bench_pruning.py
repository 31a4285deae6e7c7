"""What is won by removing the neurons that pruning leaves without a use, against the dense network?

    python bench_pruning.py          # 64-1000-1000-10 on digits, 5 % of the weights, a minute
    python bench_pruning.py --density 0.02

A network is trained, pruned by magnitude, all layers together, and trained on. Plain is the dense
network that it was; ours is the same network without dead and duplicate neurons: a smaller one of
ordinary layers. It puts out what the masked network does, which is checked in float64. Files are
state dicts as `torch.save` writes them.
"""

import argparse
import copy
import io
import sys
from itertools import pairwise
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
import torch.nn.functional as F
from support.benchmarks import RESULTS, record, seconds
from torch import Tensor, nn

from nn_graphs.datasets.digits import read_digits
from nn_graphs.graphs.removal import Shrunk, remove_redundant_neurons
from nn_graphs.networks.pruning import Density, plain_copy, prune

GIGA = 1e9


def make_network(widths: list[int]) -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def train(module: nn.Module, inputs: Tensor, labels: Tensor, num_steps: int) -> None:
    """Adam on batches of 64."""
    optimizer = torch.optim.Adam(module.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(num_steps):
        batch = torch.randint(len(inputs), (64,), generator=generator)
        loss = F.cross_entropy(module(inputs[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def file_size(module: nn.Module) -> float:
    """Bytes of the saved state dict."""
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    return file.getbuffer().nbytes


def accuracy(module: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    with torch.no_grad():
        return (module(inputs).argmax(1) == labels).float().mean().item()


def report(
    dense: nn.Module, found: Shrunk, inputs: Tensor, remark: str, options: argparse.Namespace
) -> None:
    widths = [layer.out_features for layer in found.module if isinstance(layer, nn.Linear)]
    setting = (
        f"{'-'.join(map(str, options.widths))} on digits, density {options.density:g}, "
        f"now {'-'.join(map(str, [options.widths[0], *widths]))}"
    )
    batch = inputs[torch.arange(options.batch_size) % len(inputs)]
    with torch.inference_mode():
        times = [
            seconds(lambda own=module: own(batch), repeats=options.repeats)
            for module in (dense, found.module)
        ]
    record(
        "inference of a pruned network without its redundant neurons",
        setting=f"{setting}, batch {options.batch_size}",
        unit="s",
        plain=times[0],
        ours=times[1],
        remark=remark,
        results=options.results,
    )
    record(
        "file of a pruned network without its redundant neurons",
        setting=setting,
        unit="GB",
        plain=file_size(dense) / GIGA,
        ours=file_size(found.module) / GIGA,
        remark=str(found) + ".",
        results=options.results,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=int, nargs="+", default=[64, 1000, 1000, 10])
    parser.add_argument("--density", type=float, default=0.05)
    parser.add_argument("--num-steps", type=int, default=300, help="before and after pruning")
    parser.add_argument("--batch-size", type=int, default=256, help="of the timed inference")
    parser.add_argument("--repeats", type=int, default=50, help="timed, on each side")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    data = read_digits()
    inputs = torch.from_numpy(data.pixels(slice(None))).flatten(1)
    labels = torch.from_numpy(data.labels)
    train_set, test_set = slice(0, data.num_train), slice(data.num_train, None)
    module = make_network(options.widths)
    train(module, inputs[train_set], labels[train_set], options.num_steps)
    dense = copy.deepcopy(module)
    prune(module, Density(options.density))
    train(module, inputs[train_set], labels[train_set], options.num_steps)
    masked = plain_copy(module).double()
    found = remove_redundant_neurons(masked, inputs[:2].double())
    with torch.no_grad():
        outputs = [own(inputs.double()) for own in (masked, found.module)]
    difference = (outputs[0] - outputs[1]).abs().max().item()
    assert difference < 1e-9, difference
    found.module.float()
    accuracies = [accuracy(own, inputs[test_set], labels[test_set]) for own in (dense, module)]
    remark = (
        f"Outputs equal those of the masked network to {difference:.0e} in float64. "
        f"Test accuracy: dense {accuracies[0]:.3f}, pruned {accuracies[1]:.3f}."
    )
    report(dense, found, inputs, remark, options)


if __name__ == "__main__":
    main()
