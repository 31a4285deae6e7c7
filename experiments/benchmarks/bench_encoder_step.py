"""How much time and memory does a training step take, as published and here?

    python bench_encoder_step.py                   # NG-GNN and NG-T, about 10 minutes on two cores
    python bench_encoder_step.py --only gnn
    python bench_encoder_step.py --variant gnn     # one variant, in this process, as JSON

A step is forward, cross-entropy, backward and AdamW. Every variant runs in processes of its own,
one after the other and then all again, so that memory peaks do not mix and a busy machine slows
all of them down.
"""

import argparse
import dataclasses
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

import torch
from benchmarks.training_steps import VARIANTS, StepCost, StepSetting, measure_step
from support.benchmarks import RESULTS, record

COMPARED = {
    "gnn": [("NG-GNN", "gnn_published", "gnn")],
    "transformer": [
        ("NG-T on all pairs", "transformer_published", "transformer_all_pairs"),
        ("NG-T on edges", "transformer_published", "transformer_edges"),
    ],
}


def measure_apart(setting: StepSetting, *, num_steps: int) -> StepCost:
    """`measure_step` in a fresh process."""
    options = {
        "variant": setting.variant,
        "layer-layout": "-".join(map(str, setting.layer_layout)),
        "batch-size": setting.batch_size,
        "device": setting.device,
        "precision": setting.precision,
        "num-steps": num_steps,
    }
    command = [sys.executable, __file__]
    command += [f"--{name}={value}" for name, value in options.items()]
    command += ["--compile"] * setting.is_compiled
    found = subprocess.run(command, capture_output=True, text=True)
    if found.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{found.stderr}")
    return StepCost(**json.loads(found.stdout.splitlines()[-1]))


def compare(questions: list[tuple[str, str, str]], options: argparse.Namespace) -> None:
    variants = list(dict.fromkeys(name for _, *pair in questions for name in pair))
    costs: dict[str, list[StepCost]] = {name: [] for name in variants}
    measure = measure_step if options.in_one_process else measure_apart
    for _ in range(options.num_rounds):
        for name in variants:
            costs[name].append(measure(make_setting(name, options), num_steps=options.num_steps))
            print(f"{name}: {costs[name][-1]}", flush=True)
    for encoder, plain, ours in questions:
        _record(encoder, costs[plain], costs[ours], options)


def _record(
    encoder: str, plain: list[StepCost], ours: list[StepCost], options: argparse.Namespace
) -> None:
    setting = f"{options.layer_layout}, batch {options.batch_size}, published settings"
    setting += f", {options.precision}" * (options.precision != "32-true")
    setting += ", ours compiled" * options.compile
    shared = {"setting": setting, "device": plain[0].device, "results": options.results}
    median = statistics.median
    record(
        f"training step of {encoder}",
        unit="s",
        plain=median(cost.seconds for cost in plain),
        ours=median(cost.seconds for cost in ours),
        **shared,
    )
    if all(cost.gigabytes for cost in plain + ours):
        record(
            f"memory of a training step of {encoder}",
            unit="GB",
            plain=median(cost.gigabytes for cost in plain),
            ours=median(cost.gigabytes for cost in ours),
            **shared,
        )


def make_setting(variant: str, options: argparse.Namespace) -> StepSetting:
    return StepSetting(
        variant,
        layer_layout=tuple(map(int, options.layer_layout.split("-"))),
        batch_size=options.batch_size,
        device=options.device,
        precision=options.precision,
        is_compiled=options.compile,
    )


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--only", choices=COMPARED, help="one of the encoders")
    parser.add_argument("--variant", choices=VARIANTS, help="measure one, and print it as JSON")
    parser.add_argument("--layer-layout", default="2-32-32-1", help="of the INRs")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-steps", type=int, default=3, help="timed in each process")
    parser.add_argument("--num-rounds", type=int, default=2, help="processes of each variant")
    parser.add_argument("--device", default=device, choices=("cpu", "cuda"))
    parser.add_argument("--precision", default="32-true", choices=("32-true", "bf16-mixed"))
    parser.add_argument("--compile", action="store_true", help="torch.compile ours")
    parser.add_argument(
        "--in-one-process", action="store_true", help="quicker, but memory peaks mix"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to append to")
    return parser.parse_args()


def main() -> None:
    options = parse_arguments()
    if options.variant:
        cost = measure_step(make_setting(options.variant, options), num_steps=options.num_steps)
        print(json.dumps(dataclasses.asdict(cost)))
        return
    chosen = [options.only] if options.only else [*COMPARED]
    compare([question for name in chosen for question in COMPARED[name]], options)


if __name__ == "__main__":
    main()
