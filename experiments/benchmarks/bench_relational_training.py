"""How much faster is a family of relational networks trained as stacks than one network at a time?

python bench_relational_training.py            # 49 graphs of 16 nodes, 5 seeds, on digits

The plain way is `RelationalNetwork` with torch's optimizer and a loop over batches; of it, a sample
of the networks is timed, spread evenly over the widths. Both ways give the same test accuracies.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import numpy as np
import torch
from support.benchmarks import RESULTS, record

from nn_graphs.datasets import load_images
from nn_graphs.networks.classifiers.data import LabelledData
from nn_graphs.networks.classifiers.schedules import Schedule
from nn_graphs.networks.classifiers.single import train_module
from nn_graphs.networks.classifiers.train_stack import Plan, Recipe
from nn_graphs.networks.optimizers import Optimizer
from nn_graphs.networks.relational.architectures import mlp
from nn_graphs.networks.relational.family import groups_by_width, stack_family
from nn_graphs.relational_results.graphs import GraphSet
from nn_graphs.relational_results.runs import Job, Training, make_jobs, read_runs, train_jobs

RECIPE = Recipe(
    Optimizer("sgd", 0.05, momentum=0.9, is_nesterov=True, weight_decay=5e-4), Schedule("cosine")
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--width", type=int, default=16, help="of the complete graph")
    parser.add_argument("--num-epochs", type=int, default=10)
    parser.add_argument("--num-graphs", type=int, default=48, help="besides the complete one")
    parser.add_argument("--num-seeds", type=int, default=5)
    parser.add_argument("--num-plain", type=int, default=12, help="networks of the plain way")
    parser.add_argument("--chunk-size", type=int, default=41, help="networks of a stack")
    parser.add_argument("--compile", action="store_true", help="compile the step of stacks")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    options = parser.parse_args()
    compare(options)


def compare(options: argparse.Namespace) -> None:
    architecture = mlp(options.width, in_channels=1, in_side=8)
    data = LabelledData.from_dataset(load_images("digits"))
    plan = Plan(options.num_epochs, 64, is_compiled=options.compile)
    training = Training(architecture, RECIPE, plan)
    graphs = GraphSet(16, first=options.num_graphs).read(Path())
    jobs = make_jobs(architecture, graphs, range(1, options.num_seeds + 1))
    plain, sample, accuracies = time_plain(training, jobs, data, options.num_plain)
    ours, errors = time_stacks(training, jobs, data, options.chunk_size)
    found = [100 - errors[job.graph.graph_id, job.seed] for job in sample]
    record(
        "a family of relational networks",
        setting=f"{len(graphs)} graphs of 16 nodes, {options.num_seeds} seeds, digits, MLPs of the "
        f"FLOPs of width {options.width}, {options.num_epochs} epochs",
        unit="networks/s",
        plain=len(sample) / plain,
        ours=len(jobs) / ours,
        remark=f"{len(sample)} networks the plain way, {len(jobs)} as stacks of up to "
        f"{options.chunk_size}{', compiled' if options.compile else ''}, start-up included. Mean "
        f"test accuracy of the same {len(sample)}: plain {np.mean(accuracies):.2f}, ours "
        f"{np.mean(found):.2f} %. {padded_share(training, jobs, options.chunk_size):.0%} of the "
        "work of stacks is padding.",
        results=options.results,
    )


def time_plain(
    training: Training, jobs: Sequence[Job], data: LabelledData, number: int
) -> tuple[float, list[Job], list[float]]:
    """Seconds, which networks, and their test accuracies."""
    order = np.argsort([job.widths[0] for job in jobs], kind="stable")
    places = order[np.linspace(0, len(jobs) - 1, min(number, len(jobs))).round().astype(int)]
    sample = [jobs[place] for place in places]

    def train(job: Job):
        return train_module(
            training.make_network(job), data, training.recipe_of(job), training.plan
        )

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # faster than two on networks this small
    train(sample[0])  # what torch imports on first use is not counted
    start = time.perf_counter()
    scores = [train(job) for job in sample]
    seconds = time.perf_counter() - start
    torch.set_num_threads(threads)
    return seconds, sample, [100 * float(one.test_accuracy) for one in scores]


def time_stacks(
    training: Training, jobs: Sequence[Job], data: LabelledData, chunk_size: int
) -> tuple[float, dict[tuple[int, int], float]]:
    """Seconds, and the test error of every network."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "runs.csv"
        origin = dict.fromkeys(("device", "versions", "commit", "command"), "")
        start = time.perf_counter()
        train_jobs(
            training,
            jobs,
            data,
            results=results,
            folder=Path(folder) / "states",
            describe=lambda: origin,
            task="bench",
            options="",
            chunk_size=chunk_size,
        )
        seconds = time.perf_counter() - start
        runs = read_runs(results, task="bench", options="")
    keys = zip(runs["graph_id"].tolist(), runs["train_seed"].tolist(), strict=True)
    return seconds, dict(zip(keys, runs["top1_error"].tolist(), strict=True))


def padded_share(training: Training, jobs: Sequence[Job], chunk_size: int) -> float:
    """Of all multiply-accumulates of the stacks, those on padded channels."""
    groups = groups_by_width([job.widths[0] for job in jobs], chunk_size)
    stacks = [stack_family([training.make_network(jobs[i]) for i in group]) for group in groups]
    work = torch.tensor([float(stack.params.numel()) for stack in stacks])
    shares = torch.tensor([stack.padded_share for stack in stacks])
    return float((work * shares).sum() / work.sum())


if __name__ == "__main__":
    main()
