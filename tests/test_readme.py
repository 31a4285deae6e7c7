"""The README's example runs as it stands, and says what it says."""

import re
from pathlib import Path

import torch

README = Path(__file__).parents[1] / "README.md"


def test_the_example_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    for block in blocks:
        if "train_and_test" not in block:  # minutes; tests/by_name does it on a tiny zoo
            exec(block, names)
    assert torch.equal(names["params"], names["template"].parameters.flatten(names["module"]))
    assert names["graph"].num_nodes == 19
    assert names["graph"].num_edges == 48
    assert tuple(names["encoded"].nodes.shape) == (64, 19, 32)
    assert "NeuralGraph(" in capsys.readouterr().out
