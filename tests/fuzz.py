"""Mutated files of every format that is read, each under a limit of time and memory.

python -m tests.fuzz torch 1000 --seed 3     # 1,000 mutations of a checkpoint; one line of JSON

Each mutation must be read or refused by the one error, in time, within memory, and without a file
opened outside of its folder.
"""

import argparse
import json
import logging
import os
import resource
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import save_file

from nn_graphs.download.unpacking import unpack
from nn_graphs.encoders import load_encoder, save_encoder
from nn_graphs.encoders.gnn import NGGNN
from nn_graphs.errors import NNGraphsError
from nn_graphs.networks.spec import NetworkSpec
from nn_graphs.training.checkpoint import random_states, read_checkpoint
from nn_graphs.zoos import Folder, Zoo
from nn_graphs.zoos.batches import make_templates
from nn_graphs.zoos.readers.read_zoo import read_zoo

ROOT = Path(__file__).parents[1]
SECONDS, MEMORY = 20, 2 << 30  # of one file, the memory above what the process had
SPEC = NetworkSpec.mlp((2, 3, 1), activation="relu")
NUM_NETWORKS = 3

Read = Callable[[], object]
Format = tuple[Path, Read]  # the file to mutate, and what reads it


def _states() -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (3, 2), "0.bias": (3,), "2.weight": (1, 3), "2.bias": (1,)}
    return [
        {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(NUM_NETWORKS)
    ]


def _folder(place: Path, suffix: str, save: Callable) -> Folder:
    place.mkdir()
    names = [f"net{number}{suffix}" for number in range(NUM_NETWORKS)]
    for name, state in zip(names, _states(), strict=True):
        save(state, place / name)
    table = pd.DataFrame({"path": names, "label": [0, 1, 0], "split": ["train", "val", "test"]})
    table.to_csv(place / "labels.csv", index=False)
    return Folder(place)


def _checkpoints(suffix: str, save: Callable, mutated: str) -> Callable[[Path], Format]:
    def make(place: Path) -> Format:
        source = _folder(place / "zoo", suffix, save)
        return place / "zoo" / mutated, lambda: read_zoo(source, architecture=SPEC)

    return make


def _save_arrays(state: dict, path: Path) -> None:
    np.savez(path, **{name: value.numpy() for name, value in state.items()})


def _zip(place: Path) -> Format:
    folder, path = place / "zoo", place / "zoo.zip"
    _folder(folder, ".pth", torch.save)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for file in sorted(folder.iterdir()):
            packed.write(file, file.name)
    return path, lambda: read_zoo(Folder(path), architecture=SPEC)


def _zoo(place: Path) -> Format:
    source = _folder(place / "zoo", ".pth", torch.save)
    path = read_zoo(source, architecture=SPEC)[0].save(place / "zoo.h5")
    return path, lambda: Zoo.open(path).params[0].sum()


def _archive(ending: str) -> Callable[[Path], Format]:
    def make(place: Path) -> Format:
        folder, path = place / "files", place / f"packed{ending}"
        _folder(folder, ".pth", torch.save)
        if ending == ".zip":
            shutil.make_archive(str(place / "packed"), "zip", folder)
        else:
            with tarfile.open(path, "w:gz") as packed:
                packed.add(folder, "files")

        def read() -> None:
            shutil.rmtree(place / "packed", ignore_errors=True)
            unpack(path)

        return path, read

    return make


def _encoder(place: Path) -> Format:
    source = _folder(place / "zoo", ".pth", torch.save)
    zoo = read_zoo(source, architecture=SPEC)[0]
    encoder = NGGNN(make_templates(zoo), dim=4, num_layers=1)
    path = save_encoder(encoder, place / "encoder.safetensors")
    return path, lambda: load_encoder(path)


def _state(place: Path) -> Format:
    path = place / "run" / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"epoch": 3, "states": random_states(), "weights": _states()[0]}, path)
    return path, lambda: read_checkpoint(path)


FORMATS: dict[str, Callable[[Path], Format]] = {
    "torch": _checkpoints(".pth", torch.save, "net1.pth"),
    "safetensors": _checkpoints(".safetensors", save_file, "net1.safetensors"),
    "npz": _checkpoints(".npz", _save_arrays, "net1.npz"),
    "labels": _checkpoints(".pth", torch.save, "labels.csv"),
    "zip of checkpoints": _zip,
    "zoo": _zoo,
    "tar.gz": _archive(".tar.gz"),
    "zip": _archive(".zip"),
    "encoder": _encoder,
    "training state": _state,
}


def mutate(content: bytes, generator: np.random.Generator) -> bytes:
    """One of six kinds of damage."""
    kind, size = generator.integers(6), len(content)
    start, length = int(generator.integers(size)), int(generator.integers(1, 33))
    damaged = bytearray(content)
    if kind == 0:
        for place in generator.integers(size, size=generator.integers(1, 9)):
            damaged[place] ^= 1 << int(generator.integers(8))
    elif kind == 1:
        damaged[start : start + length] = generator.bytes(min(length, size - start))
    elif kind == 2:
        del damaged[start:]
    elif kind == 3:
        damaged[start:start] = damaged[start : start + length]
    elif kind == 4:
        damaged[start : start + length] = b"\xff" * min(length, size - start)
    else:
        del damaged[start : start + length]
    return bytes(damaged)


def _watch_opened(folder: Path) -> list[str]:
    """Names of files that are opened elsewhere than in `folder` or among libraries."""
    allowed = (str(folder), sys.prefix, sys.base_prefix, str(ROOT), "/proc/", "/dev/", "/sys/")
    opened: list[str] = []

    def hook(event: str, args: tuple) -> None:
        path = args[0] if event == "open" and isinstance(args[0], str) else ""
        if os.path.isabs(path) and not path.startswith(allowed):
            opened.append(path)

    sys.addaudithook(hook)
    return opened


def _limit_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY,) * 2)


def _try(read: Read) -> str:
    signal.setitimer(signal.ITIMER_REAL, SECONDS)  # its signal ends the process, whatever it does
    try:
        read()
    except NNGraphsError:
        return "refused"
    except Exception as error:
        return f"raw {type(error).__name__}: {error}"[:200]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return "read"


def run(name: str, numbers: range, seed: int) -> None:
    """Tries some mutations in this process; a line per mutation, then one of files opened."""
    logging.disable()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as place:
        path, read = FORMATS[name](Path(place))
        content = path.read_bytes()
        read()
        opened = _watch_opened(Path(place).resolve())
        _limit_memory()
        for number in numbers:
            path.write_bytes(mutate(content, np.random.default_rng([seed, number])))
            print(number, _try(read).replace("\n", " "), flush=True)
        print("opened", json.dumps(sorted(set(opened))), flush=True)


def fuzz(name: str, count: int, seed: int = 0) -> dict:
    """Tries mutations in other processes: how many ended how.

    Returns:
        `outcomes` (counts of "read", "refused", "raw", "hang"), `examples` of raw errors, `hangs`
        (numbers of mutations) and `opened` (files elsewhere).
    """
    outcomes, examples, hangs, opened, next_one = Counter(), Counter(), [], set(), 0
    while next_one < count:
        command = [sys.executable, "-m", "tests.fuzz", name, str(count), "--seed", str(seed)]
        command += ["--from", str(next_one)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NN_GRAPHS_PROGRESS": "0"}
        found = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        lines = [line.split(" ", 1) for line in found.stdout.splitlines()]
        for number, outcome in lines:
            if number == "opened":
                opened.update(json.loads(outcome))
                continue
            outcomes[outcome.split(" ")[0]] += 1
            if outcome.startswith("raw"):
                examples[outcome] += 1
            next_one = int(number) + 1
        if found.returncode:
            if found.returncode != -signal.SIGALRM:
                raise RuntimeError(found.stderr[-2000:])
            outcomes["hang"] += 1
            hangs.append(next_one)
            next_one += 1
    return {
        "format": name,
        "outcomes": dict(outcomes),
        "examples": dict(examples.most_common(8)),
        "hangs": hangs,
        "opened": sorted(opened),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("format", choices=[*FORMATS, "all"])
    parser.add_argument("count", type=int, help="mutations of each format")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="first", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.first is not None:
        run(options.format, range(options.first, options.count), options.seed)
        return
    for name in FORMATS if options.format == "all" else [options.format]:
        print(json.dumps(fuzz(name, options.count, options.seed)), flush=True)


if __name__ == "__main__":
    main()
