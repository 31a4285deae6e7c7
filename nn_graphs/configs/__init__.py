"""Zoos, tasks, encoders, trainers and whole experiments by name: one tree of hydra's YAML files.

`<task>.yaml` names the parts of an experiment, `<group>/<name>.yaml` describes one of them: what is
called (`_target_`) with which settings. The command line (`python main.py encoder=ng_t`) and
`nn_graphs.by_name` read the same files.
"""

from pathlib import Path

CONFIGS = Path(__file__).parent
