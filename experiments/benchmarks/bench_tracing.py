"""How long does a module take to become a neural graph, and how much memory?

    python bench_tracing.py                  # ResNet-50 and BERT-base, about 2 minutes
    python bench_tracing.py --only resnet50
    python bench_tracing.py --tiny           # narrow ones, to try the script

The plain side traces the module for every network; ours traces it once, and shows another network's
weights through the template. The remark tells the memory: the most that the process held,
less what it held with the module loaded. The module is laid out as published, with random weights;
the weights come back bit for bit. Each measurement runs in a process of its own.
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from support.benchmarks import RESULTS, record
from torch import Tensor, nn

from nn_graphs import trace


class Bottleneck(nn.Module):
    """A residual block of ResNet-50."""

    def __init__(self, fan_in: int, width: int, stride: int):
        super().__init__()
        out = 4 * width
        self.layers = nn.Sequential(
            *_normed(nn.Conv2d(fan_in, width, 1, bias=False)),
            nn.ReLU(),
            *_normed(nn.Conv2d(width, width, 3, stride, 1, bias=False)),
            nn.ReLU(),
            *_normed(nn.Conv2d(width, out, 1, bias=False)),
        )
        has_shortcut = stride != 1 or fan_in != out
        shortcut = _normed(nn.Conv2d(fan_in, out, 1, stride, bias=False)) if has_shortcut else []
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(self.layers(values) + self.shortcut(values))


def _normed(layer: nn.Conv2d) -> list[nn.Module]:
    return [layer, nn.BatchNorm2d(layer.out_channels)]


def resnet50(width: int, classes: int) -> nn.Module:
    """25.6 million parameters at a width of 64 with 1,000 classes."""
    layers = [*_normed(nn.Conv2d(3, width, 7, 2, 3, bias=False)), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    fan_in = width
    for stage, number in enumerate((3, 4, 6, 3)):
        for block in range(number):
            own = width * 2**stage
            layers.append(Bottleneck(fan_in, own, 2 if stage and not block else 1))
            fan_in = 4 * own
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fan_in, classes))


class BERT(nn.Module):
    """An encoder of tokens; 108.9 million parameters at a width of 768 with 30,522 tokens."""

    def __init__(self, width: int, num_tokens: int, num_layers: int = 12):
        super().__init__()
        self.tokens, self.places = nn.Embedding(num_tokens, width), nn.Embedding(512, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, width // 64 or 2, 4 * width, activation="gelu", batch_first=True
            )
            for _ in range(num_layers)
        )
        self.pooler = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        places = torch.arange(tokens.shape[1])[None]
        values = self.norm(self.tokens(tokens) + self.places(places))
        for layer in self.layers:
            values = layer(values)
        return torch.tanh(self.pooler(values[:, 0]))


def make_model(name: str, *, is_tiny: bool) -> tuple[nn.Module, Tensor]:
    """A model, and an input for it."""
    if name == "resnet50":
        module = resnet50(4, 10) if is_tiny else resnet50(64, 1000)
        return module, torch.zeros(1, 3, 64, 64) if is_tiny else torch.zeros(1, 3, 224, 224)
    module = BERT(16, 100, num_layers=2) if is_tiny else BERT(768, 30_522)
    return module, torch.zeros(1, 128, dtype=torch.long)


def measure(name: str, *, is_tiny: bool) -> tuple[int, float, float, float]:
    """Parameters; seconds to trace, seconds for a graph of other weights; GB held on top."""
    module, inputs = make_model(name, is_tiny=is_tiny)
    before = _peak_memory()
    tracing, template = _timed(lambda: trace(module, inputs))
    _, graph = _timed(lambda: template(module))  # builds the edges once
    for parameter in module.parameters():
        parameter.data.mul_(2.0)
    showing, graph = _timed(lambda: template(module))
    memory = _peak_memory() - before
    assert torch.equal(template.invert(graph), template.parameters.flatten(module))
    return template.num_params, tracing, showing, memory


def _timed(function: Callable) -> tuple[float, object]:
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def _peak_memory() -> float:
    """The most that this process has held so far, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def compare(name: str, options: argparse.Namespace) -> None:
    command = [sys.executable, __file__, "--measure", name] + ["--tiny"] * options.tiny
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    num_params, tracing, showing, memory = (float(x) for x in output.splitlines()[-1].split())
    record(
        "neural graph of a large module",
        setting=f"{name}, {num_params / 1e6:.1f} million parameters, channel level",
        unit="s",
        plain=tracing + showing,
        ours=showing,
        remark=f"Tracing once takes {tracing:.1f} s; {memory:.2f} GB on top of the module. "
        "Parameters come back bit for bit.",
        results=options.results,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=MODELS)
    parser.add_argument("--tiny", action="store_true", help="narrow models, to try the script")
    parser.add_argument("--measure", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


MODELS = ("resnet50", "bert_base")


def main() -> None:
    options = parse_arguments()
    if options.measure:
        print(*measure(options.measure, is_tiny=options.tiny))
        return
    for name in MODELS:
        if options.only in (None, name):
            compare(name, options)


if __name__ == "__main__":
    main()
