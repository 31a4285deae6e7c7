"""How long does a training step of ProbeGen take, network by network and here?

    python bench_probe_gen.py                       # INRs, then CNNs of the Small CNN Zoo
    python bench_probe_gen.py --only inr --batch-size 4 --num-steps 1

Both sides have the same generator and perceptron. The plain one runs one network after the other
on the probes, as the public code does: of every network of the batch a module is made and given
its weights, which are parameters like any other. Outputs are compared before anything is timed. A
step is forward, loss, backward and Adam.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from support.benchmarks import RESULTS, record, seconds_in_turn
from torch import Tensor, nn
from torch.nn import functional as F

from nn_graphs.encoders.probe_gen import ProbeGen
from nn_graphs.graphs.builder import template_from_spec
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.cnn import small_cnn_zoo_spec
from nn_graphs.networks.inr import PRESETS
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.training import accumulate_gradients, supervised

PRESET = PRESETS["dws"]


class Sine(nn.Module):
    """The activation of the preset."""

    def forward(self, values: Tensor) -> Tensor:
        return torch.sin(PRESET.omega_0 * values)


class MovedBy(nn.Module):
    """A constant that is added."""

    def __init__(self, constant: float):
        super().__init__()
        self.constant = constant

    def forward(self, values: Tensor) -> Tensor:
        return values + self.constant


def make_inr() -> nn.Module:
    """An INR of the preset."""
    hidden = [nn.Linear(2, 32), Sine(), nn.Linear(32, 32), Sine()]
    return nn.Sequential(*hidden, nn.Linear(32, 1), MovedBy(PRESET.output_offset))


def make_cnn() -> nn.Module:
    """A network of the Small CNN Zoo."""
    layers: list[nn.Module] = []
    for channels in (1, 16, 16):
        layers += [nn.Conv2d(channels, 16, 3, stride=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def networks(kind: str) -> tuple[NetworkSpec, Callable[[], nn.Module]]:
    """An architecture, and what makes a module of it."""
    if kind == "inr":
        return PRESET.make_spec((2, 32, 32, 1)), make_inr
    return small_cnn_zoo_spec(), make_cnn


def measure(kind: str, options: argparse.Namespace) -> None:
    spec, make_module = networks(kind)
    torch.manual_seed(0)
    template = template_from_spec(spec)
    params = torch.randn(options.batch_size, template.num_params) / 3
    graphs, labels = template.stack(params), torch.zeros(options.batch_size, dtype=torch.long)
    model = ProbeGen([template], num_probes=options.num_probes, out_dim=10)

    def plain_outputs() -> Tensor:
        probes, answers = model.generator(), []
        for flat in params:
            module, weights = make_module(), spec.parameters.unflatten(flat)
            names = module.state_dict()
            module.load_state_dict(dict(zip(names, weights.values(), strict=True)))
            answers.append(module(probes).T.flatten())
        return model.mlp(torch.stack(answers))

    with torch.no_grad():
        error = (model(graphs) - plain_outputs()).abs().max().item()
    if not error < 1e-3:
        raise SystemExit(f"outputs differ by {error:.1e}")
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-4)

    def stepping(gradients: Callable[[], object]) -> Callable[[], None]:
        def step() -> None:
            optimizer.zero_grad()
            gradients()
            optimizer.step()

        return step

    keep_freed_memory()  # as training does
    objective = supervised(F.cross_entropy)
    times = seconds_in_turn(
        stepping(lambda: F.cross_entropy(plain_outputs(), labels).backward()),
        stepping(lambda: accumulate_gradients(model, objective, (graphs, labels))),
        repeats=options.num_steps,
    )
    record(
        f"step of ProbeGen on {'INRs' if kind == 'inr' else 'CNNs'}",
        setting=f"{template.widths}, batch {options.batch_size}, {options.num_probes} probes",
        unit="s",
        plain=times[0],
        ours=times[1],
        remark=f"Outputs differ by {error:.1e}.",
        results=options.results,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("inr", "cnn"), help="one of the two")
    parser.add_argument("--batch-size", type=int, default=32, help="as published")
    parser.add_argument("--num-probes", type=int, default=128)
    parser.add_argument("--num-steps", type=int, default=5, help="timed of each side")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    for kind in (options.only,) if options.only else ("inr", "cnn"):
        measure(kind, options)


if __name__ == "__main__":
    main()
