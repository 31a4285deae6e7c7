"""How much time and memory does a step of style editing take, drawn one INR at a time and here?

    python bench_style_editing.py                   # NG-GNN, 64 INRs of 28 x 28 pixels
    python bench_style_editing.py --num-copies 8
    python bench_style_editing.py --variant plain   # one variant, in this process, as JSON

A step is the editor forward, its networks drawn, the error, backward and AdamW. The editor is the
same on both sides; the plain one sees the batch as a whole and draws each network by itself, as one
writes an INR in torch. Every variant runs in processes of its own, one after the other and then all
again, so that memory peaks do not mix and a busy machine slows both down.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import hydra
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from benchmarks.training_steps import StepCost, measure
from omegaconf import OmegaConf
from support.benchmarks import RESULTS, record
from torch import Tensor, nn

from nn_graphs.configs import CONFIGS
from nn_graphs.datasets import DATASETS, ImageDataset
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.inr import PRESETS
from nn_graphs.tasks.style_editing import StyleEditing
from nn_graphs.training import TrainingSettings, accumulate_gradients
from nn_graphs.zoos.batches import LabelledGraphs
from nn_graphs.zoos.zoo import SPLITS, Zoo

VARIANTS = ("plain", "ours")
PRESET = PRESETS["dws"]


def make_task(layout: tuple[int, ...], *, num_train: int, side: int, num_copies: int):
    """INRs at their initial values, of images of noise."""
    count = num_train + 2
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 1), dtype=np.uint8)
    labels = np.zeros(count, dtype=np.int64)
    DATASETS["noise"] = lambda root: ImageDataset("noise", pixels, labels, count, 255, ("noise",))
    spec = PRESET.make_spec(layout)
    table = pd.DataFrame(
        {"split": np.repeat(SPLITS, [num_train, 1, 1]), "source_id": np.arange(count)}
    )
    params = PRESET.initial_params(spec, start=0, stop=count, seed=0)
    recipe = {"dataset": "noise", "preset": PRESET.name}
    zoo = Zoo.single(spec, params, table, {"recipe": recipe, "image_size": [side, side]})
    return StyleEditing(zoo, num_copies=num_copies)


def draw_one(tensors: list[Tensor], points: Tensor) -> Tensor:
    """What an INR of the preset draws, written as one writes it in torch."""
    *hidden, weight, bias = tensors
    values = points
    for inner_weight, inner_bias in zip(hidden[::2], hidden[1::2], strict=True):
        values = torch.sin(PRESET.omega_0 * F.linear(values, inner_weight, inner_bias))
    return F.linear(values, weight, bias) + PRESET.output_offset


def plain_loss(task: StyleEditing, editor: nn.Module, batch: LabelledGraphs) -> Tensor:
    """The error of a batch, its networks drawn one after the other; with gradients."""
    graphs, labels = batch
    spec, (height, width) = task.zoo.spec, labels.shape[1:3]
    points, drawn = PRESET.coordinates(height, width), []
    for copies in editor(graphs):
        images = []
        for flat in copies:
            tensors = spec.parameters.unflatten(flat.unsqueeze(0))
            images.append(draw_one([tensor[0] for tensor in tensors.values()], points))
        drawn.append(torch.stack(images).mean(0).view(height, width, -1))
    loss = (torch.stack(drawn) - labels / 255).square().mean()
    loss.backward()
    return loss


def prepare_step(variant: str, options: argparse.Namespace) -> Callable[[], float]:
    """A function that does one training step and says the loss before it."""
    layout = tuple(map(int, options.layer_layout.split("-")))
    task = make_task(
        layout, num_train=options.batch_size, side=options.side, num_copies=options.num_copies
    )
    config = CONFIGS / "encoder"
    node = OmegaConf.merge(
        *(OmegaConf.load(config / f"{name}.yaml").model for name in ("ng_gnn", options.encoder))
    )
    torch.manual_seed(0)
    editor = hydra.utils.instantiate(node, _convert_="all")(task)
    optimizer = TrainingSettings().make_optimizer(editor)
    batch = task.dataset("train").batch([*range(options.batch_size)])
    if variant == "plain":
        compute = partial(plain_loss, task, editor, batch)
    else:
        keep_freed_memory()  # as training does
        compute = partial(accumulate_gradients, editor, task.objective, batch)

    def step() -> float:
        optimizer.zero_grad()
        loss = compute()
        optimizer.step()
        return loss.item()

    return step


def measure_here(variant: str, options: argparse.Namespace) -> tuple[StepCost, float]:
    """Time and memory of a step, and the loss of the first."""
    losses = []
    step = prepare_step(variant, options)
    cost = measure(lambda: losses.append(step()), num_steps=options.num_steps, device="cpu")
    return cost, losses[0]


def measure_apart(variant: str, options: argparse.Namespace) -> tuple[StepCost, float]:
    """The same in a fresh process."""
    command = [sys.executable, __file__, "--variant", variant, *sys.argv[1:]]
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{found.stderr}")
    cost, loss = json.loads(found.stdout.splitlines()[-1])
    return StepCost(**cost), loss


def compare(options: argparse.Namespace) -> None:
    costs: dict[str, list[StepCost]] = {name: [] for name in VARIANTS}
    losses = {}
    measure_one = measure_here if options.in_one_process else measure_apart
    for _ in range(options.num_rounds):
        for name in VARIANTS:
            cost, losses[name] = measure_one(name, options)
            costs[name].append(cost)
            print(f"{name}: {cost}", flush=True)
    shared = {
        "setting": f"{options.encoder}, {options.layer_layout}, {options.side} x {options.side} "
        f"pixels, batch {options.batch_size}, {options.num_copies} copies",
        "device": costs["ours"][0].device,
        "remark": f"Loss of the first step: plain {losses['plain']:.6f}, "
        f"ours {losses['ours']:.6f}.",
        "results": options.results,
    }
    seconds = {name: statistics.median(c.seconds for c in costs[name]) for name in VARIANTS}
    record("step of style editing", unit="s", **seconds, **shared)
    if all(cost.gigabytes for one in costs.values() for cost in one):
        memory = {name: statistics.median(c.gigabytes for c in costs[name]) for name in VARIANTS}
        record("memory of a step of style editing", unit="GB", **memory, **shared)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    encoders = ("ng_gnn", "ng_gnn_small", "ng_gnn_plain", "ng_gnn_editor")
    parser.add_argument("--encoder", choices=encoders, default="ng_gnn_small")
    parser.add_argument("--variant", choices=VARIANTS, help="measure one, and print it as JSON")
    parser.add_argument("--layer-layout", default="2-32-32-1", help="of the INRs")
    parser.add_argument("--side", type=int, default=28, help="of the images, in pixels")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-copies", type=int, default=1)
    parser.add_argument("--num-steps", type=int, default=5, help="timed in each process")
    parser.add_argument("--num-rounds", type=int, default=2, help="processes of each variant")
    parser.add_argument(
        "--in-one-process", action="store_true", help="quicker, but memory peaks mix"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.variant:
        cost, loss = measure_here(options.variant, options)
        print(json.dumps([dataclasses.asdict(cost), loss]))
        return
    compare(options)


if __name__ == "__main__":
    main()
