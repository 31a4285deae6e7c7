"""Where the library names a device: each place has a reason; all else follows its tensors."""

import ast
import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2] / "nn_graphs"
READ = "files are read to the CPU, from where what is made of them is moved"
SCIKIT = "scikit-learn computes on the CPU alone"
REASONS = {
    ("threads.py", "get_num_threads"): "cores, not devices, are counted here, for all others",
    ("threads.py", "cpu"): "the autocast of the threads that compute on the CPU",
    ("networks/dag/network_files.py", "cpu"): READ,
    ("networks/classifiers/saving.py", "cpu"): READ,
    ("zoos/readers/checkpoints.py", "cpu"): READ,
    ("zoos/readers/plain_pickles.py", "cpu"): READ,
    ("learned_optimizers/meta_training.py", "cpu"): READ,
    ("training/checkpoint.py", "cpu"): READ,
    ("training/checkpoint.py", "cuda"): "random numbers of GPUs go on where a run does",
    ("training/trainer.py", "cuda"): "the name of a GPU, for results",
    ("training/trainer.py", "get_num_threads"): "the name of a CPU, for results",
    ("networks/masked.py", "cpu"): "products of blocks are of the CPU, in full precision",
    ("zoos/makers/stacked_runs.py", "cpu"): "runs are drawn before there is anything on a device",
    ("plotting.py", "cpu"): "figures are drawn on the CPU",
    ("boosted_trees.py", "cpu"): SCIKIT,
    ("best_statistic.py", "cpu"): SCIKIT,
    ("relational_results/runs.py", "cpu"): "a default, which the caller changes",
}


def named_devices(tree: ast.AST) -> list[str]:
    """Devices by name, and looks at threads, but for defaults of arguments and looks at a type."""
    allowed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):
            allowed.update(default for default in (*node.defaults, *node.kw_defaults) if default)
        elif isinstance(node, ast.Compare) and ast.unparse(node.left).endswith(".type"):
            allowed.update(node.comparators)
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ("cuda", "is_cuda", "get_num_threads"):
            names.append(node.attr)
        elif isinstance(node, ast.Constant) and node not in allowed:
            value = node.value if isinstance(node.value, str) else ""
            names += [value] * (value.split(":")[0] in ("cpu", "cuda", "mps", "xpu"))
    return names


def test_each_device_by_name_has_a_reason():
    texts = {path: path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")}
    found = {
        (path.relative_to(ROOT).as_posix(), name)
        for path, text in texts.items()
        if re.search("cpu|cuda|mps|xpu|get_num_threads", text)
        for name in named_devices(ast.parse(text))
    }
    assert found == set(REASONS)


def test_what_is_found():
    code = """
def run(model, device="cpu", *, other="cpu"):
    if model.device.type == "cuda" or torch.get_num_threads() > 4:
        return model.cuda().to("cuda:1")
    return torch.zeros(3, device="cpu") if model.weight.is_cuda else torch.cuda.device_count()
"""
    assert Counter(named_devices(ast.parse(code))) == {
        "get_num_threads": 1,
        "cuda": 2,
        "cuda:1": 1,
        "cpu": 1,
        "is_cuda": 1,
    }
