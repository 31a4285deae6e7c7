"""One training step of each encoder that the benchmarks time: plain twins and ours.

All are at the published settings, those of `configs/encoder`, with dropout.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hydra
import numpy as np
import pandas as pd
import torch
from benchmarks.published_features import as_tensors
from benchmarks.published_gnn import PublishedGNN
from benchmarks.published_transformer import PublishedTransformer
from omegaconf import OmegaConf
from support.benchmarks import device_name
from torch import Tensor, nn

from nn_graphs.configs import CONFIGS
from nn_graphs.memory import keep_freed_memory
from nn_graphs.networks.compiling import CompiledIfPossible
from nn_graphs.networks.inr import PRESETS
from nn_graphs.tasks.inr_classification import INRClassification
from nn_graphs.threads import num_cores
from nn_graphs.training import TrainingSettings, accumulate_gradients
from nn_graphs.zoos.batches import LabelledGraphs
from nn_graphs.zoos.zoo import SPLITS, Zoo

NUM_CLASSES = 10
PLAIN = {"gnn_published": PublishedGNN, "transformer_published": PublishedTransformer}
OURS = {
    "gnn": ("ng_gnn", {}),
    "transformer_all_pairs": ("ng_t", {"attention": "all_pairs"}),
    "transformer_edges": ("ng_t", {"attention": "edges"}),
}
VARIANTS = (*PLAIN, *OURS)

LossFunction = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class StepSetting:
    """What is timed.

    Attributes:
        variant: one of `VARIANTS`.
        layer_layout: of the INRs.
        batch_size: INRs per step.
        device: "cpu" or "cuda".
        precision: "32-true" or "bf16-mixed".
        is_compiled: torch.compile ours; the plain twins stay as they are.
    """

    variant: str
    layer_layout: tuple[int, ...] = (2, 32, 32, 1)
    batch_size: int = 64
    device: str = "cpu"
    precision: str = "32-true"
    is_compiled: bool = False


@dataclass(frozen=True)
class StepCost:
    """What one training step takes.

    Attributes:
        seconds: median over the timed steps.
        gigabytes: the largest memory of the process, or of the GPU, above that before the first
            step; None where the system does not tell.
        device: what it ran on.
    """

    seconds: float
    gigabytes: float | None
    device: str


def make_task(
    layer_layout: tuple[int, ...], *, num_train: int, num_val: int = 1
) -> INRClassification:
    """INRs at their initial values with drawn labels; one is left for the test split."""
    preset, sizes = PRESETS["dws"], [num_train, num_val, 1]
    labels = np.random.default_rng(0).integers(0, NUM_CLASSES, sum(sizes))
    labels[-1] = NUM_CLASSES - 1  # tasks count classes up to the largest label
    table = pd.DataFrame({"label": labels, "split": np.repeat(SPLITS, sizes)})
    spec = preset.make_spec(layer_layout)
    params = preset.initial_params(spec, start=0, stop=len(table), seed=0)
    return INRClassification(Zoo.single(spec, params, table))


def make_published_model(
    task: INRClassification, config: str | Sequence[str], **changes: str | int
) -> nn.Module:
    """Our model as files of `configs/encoder` describe it, with changes to its encoder."""
    names = [config] if isinstance(config, str) else config
    folder = CONFIGS / "encoder"
    node = OmegaConf.merge(*(OmegaConf.load(folder / f"{name}.yaml").model for name in names))
    if changes:
        node.encoder.update(changes)
    torch.manual_seed(0)
    return hydra.utils.instantiate(node, _convert_="all")(task)


def prepare_step(
    setting: StepSetting, *, accumulate: Callable[..., Tensor] = accumulate_gradients
) -> Callable[[], float]:
    """A function that does one training step and says the loss.

    `accumulate` is how our gradients are computed.
    """
    task = make_task(setting.layer_layout, num_train=setting.batch_size)
    batch = task.dataset("train").batch([*range(setting.batch_size)])
    model = _make_model(setting, task).to(setting.device)
    optimizer = TrainingSettings().make_optimizer(model)
    device = torch.device(setting.device)
    if setting.variant in PLAIN:
        compute = _plain_gradients(model, task.loss, batch, device)
    else:
        keep_freed_memory()  # as training does
        in_threads = setting.device == "cpu" and num_cores() > 1
        compiled = CompiledIfPossible(model, in_threads=in_threads) if setting.is_compiled else None
        ours = (batch[0].to(device), batch[1].to(device))
        compute = partial(accumulate, model, task.objective, ours, compiled=compiled)
    is_mixed = setting.precision == "bf16-mixed"

    def step() -> float:
        optimizer.zero_grad()
        with torch.autocast(setting.device, torch.bfloat16, enabled=is_mixed):
            loss = compute()
        optimizer.step()
        return loss.item()

    return step


def _make_model(setting: StepSetting, task: INRClassification) -> nn.Module:
    if setting.variant in PLAIN:
        torch.manual_seed(0)
        return PLAIN[setting.variant](setting.layer_layout, out_dim=task.out_dim)
    config, changes = OURS[setting.variant]
    return make_published_model(task, config, **changes)


def _plain_gradients(
    model: nn.Module, loss_fn: LossFunction, batch: LabelledGraphs, device: torch.device
) -> Callable[[], Tensor]:
    """Loss and gradients of a whole batch at once, as the published loaders hand it over."""
    graphs, labels = batch[0].to(device), batch[1].to(device)
    weights, biases = as_tensors(graphs)

    def compute() -> Tensor:
        loss = loss_fn(model(weights, biases), labels)
        loss.backward()
        return loss

    return compute


def measure_step(setting: StepSetting, *, num_steps: int) -> StepCost:
    """Time and memory of a step, after one that is not timed."""
    return measure(prepare_step(setting), num_steps=num_steps, device=setting.device)


def measure(step: Callable[[], float], *, num_steps: int, device: str) -> StepCost:
    """Time and memory of a prepared step, after one that is not timed."""
    is_cuda = device == "cuda"
    before = _restart_peak(is_cuda=is_cuda)
    step()
    times = []
    for _ in range(num_steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    peak = _peak(is_cuda=is_cuda)
    gigabytes = None if before is None or peak is None else (peak - before) / 1e9
    return StepCost(statistics.median(times), gigabytes, device_name(device))


def _restart_peak(*, is_cuda: bool) -> int | None:
    """Sets the mark of the largest memory back to what is in use now, in bytes."""
    if is_cuda:
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _process_memory("VmRSS")


def _peak(*, is_cuda: bool) -> int | None:
    return torch.cuda.max_memory_allocated() if is_cuda else _process_memory("VmHWM")


def _process_memory(name: str) -> int | None:
    """A figure that Linux keeps of this process, in bytes."""
    path = Path("/proc/self/status")
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return int(lines[name].split()[0]) * 1024
