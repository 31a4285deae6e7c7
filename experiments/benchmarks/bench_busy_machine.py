"""How fast is a training step where other programs run too?

    python bench_busy_machine.py                # about ten minutes on two cores
    python bench_busy_machine.py --only gnn

Three ways to use the cores, each in a process of its own, first alone and then beside three
programs that never rest: chunks of a batch side by side, each on one core (ours); the same chunks
on one core, one after the other; and chunks one after the other whose operations torch splits among
the cores. Which way is asked for first changes from round to round.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from benchmarks.cnn_steps import CNNStepSetting, prepare_cnn_step
from benchmarks.training_steps import StepSetting, prepare_step
from support.benchmarks import RESULTS, record, seconds
from torch import Tensor, nn

from nn_graphs.encoders.features import Graphs
from nn_graphs.threads import one_thread
from nn_graphs.training import accumulate_gradients
from nn_graphs.training.chunks import default_chunk_sizes, split_graphs
from nn_graphs.zoos.batches import LabelledGraphs

NUM_NEIGHBOURS = 3
STEPS = {
    "gnn": ("NG-GNN", StepSetting("gnn")),
    "gnn_compiled": ("NG-GNN, compiled", StepSetting("gnn", is_compiled=True)),
    "edges": ("NG-T on edges", StepSetting("transformer_edges")),
    "all_pairs": ("NG-T on all pairs", StepSetting("transformer_all_pairs")),
    "park": ("NG-GNN on a mix of CNNs", CNNStepSetting("gnn")),
}


def split_operations(
    model: nn.Module,
    objective: Callable[[Callable, Graphs, Tensor], Tensor],
    batch: LabelledGraphs,
    *,
    compiled: Callable | None = None,
) -> Tensor:
    """Gradients of a batch, chunk after chunk, each operation on all cores."""
    graphs, labels = batch
    sizes = default_chunk_sizes(model, graphs, is_compiled=compiled is not None)
    total = 0.0
    for part, part_labels in zip(split_graphs(graphs, sizes), labels.split(sizes), strict=True):
        share = len(part_labels) / len(labels)
        loss = objective(compiled or model, part, part_labels) * share
        loss.backward()
        total = total + loss.detach()
    return total


WAYS = {
    "side by side": accumulate_gradients,
    "one core": partial(accumulate_gradients, num_workers=1),
    "split operations": split_operations,
}


def time_steps(step: str, way: str, *, num_steps: int, batch_size: int | None) -> float:
    """Median seconds of a step, after one that is not counted, in this process."""
    _, setting = STEPS[step]
    setting = dataclasses.replace(setting, batch_size=batch_size or setting.batch_size)
    prepare = prepare_step if isinstance(setting, StepSetting) else prepare_cnn_step
    with one_thread() if way == "one core" else nullcontext():
        return seconds(prepare(setting, accumulate=WAYS[way]), repeats=num_steps)


def time_apart(step: str, way: str, options: argparse.Namespace) -> float:
    """`time_steps` in a fresh process."""
    if options.in_one_process:
        return time_steps(step, way, num_steps=options.num_steps, batch_size=options.batch_size)
    command = [sys.executable, __file__, f"--step={step}", f"--way={way}"]
    command.append(f"--num-steps={options.num_steps}")
    if options.batch_size:
        command.append(f"--batch-size={options.batch_size}")
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{found.stderr}")
    return json.loads(found.stdout.splitlines()[-1])


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """Programs that take all the time of a core that they are given."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for program in programs:
            program.kill()
            program.wait()


def compare(step: str, options: argparse.Namespace) -> None:
    """Rows of one step."""
    found: dict[tuple[str, int], float] = {}
    for count in (0, options.num_neighbours):
        times: dict[str, list[float]] = {way: [] for way in WAYS}
        with neighbours(count):
            for number in range(options.num_rounds):
                order = [*WAYS] if number % 2 == 0 else [*WAYS][::-1]
                for way in order:
                    times[way].append(time_apart(step, way, options))
                    print(f"{step}, {way}, {count} neighbours: {times[way][-1]:.3f} s", flush=True)
        found |= {(way, count): statistics.median(values) for way, values in times.items()}
    _record(STEPS[step][0], found, options)


def _record(name: str, found: dict[tuple[str, int], float], options: argparse.Namespace) -> None:
    neighbours = options.num_neighbours
    busy = {way: found[way, neighbours] / found[way, 0] for way in WAYS}
    remarks = {
        ("one core", 0): "",
        ("split operations", 0): "",
        ("split operations", neighbours): (
            f"Beside them a step takes {busy['side by side']:.2f} times as long as alone; "
            f"{busy['split operations']:.2f} times where operations are split, "
            f"{busy['one core']:.2f} times on one core."
        ),
    }
    for (way, count), remark in remarks.items():
        record(
            f"cores that share out a step of {name}, not {way}",
            setting=f"published settings, {count} busy neighbours",
            unit="s",
            plain=found[way, count],
            ours=found["side by side", count],
            remark=remark,
            results=options.results,
        )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=STEPS, nargs="+", default=[*STEPS])
    parser.add_argument("--step", choices=STEPS, help="time one, in this process")
    parser.add_argument("--way", choices=WAYS, help="of that one")
    parser.add_argument("--batch-size", type=int, help="networks per step, if not as published")
    parser.add_argument("--num-neighbours", type=int, default=NUM_NEIGHBOURS)
    parser.add_argument("--in-one-process", action="store_true", help="quicker, but less fair")
    parser.add_argument("--num-steps", type=int, default=5, help="timed in each process")
    parser.add_argument("--num-rounds", type=int, default=2, help="processes of each way")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.step:
        sizes = {"num_steps": options.num_steps, "batch_size": options.batch_size}
        print(json.dumps(time_steps(options.step, options.way, **sizes)))
        return
    for step in options.only:
        compare(step, options)


if __name__ == "__main__":
    main()
