"""The tables in the READMEs say what the result files say."""

from pathlib import Path

import pytest

from experiments.support.tables import EXPERIMENTS, render_readme

RESULTS = sorted(EXPERIMENTS.glob("*/results.csv"))


def test_every_experiment_has_results():
    folders = {readme.parent for readme in EXPERIMENTS.glob("*/README.md")}
    assert {results.parent for results in RESULTS} == folders


@pytest.mark.parametrize("results", RESULTS, ids=lambda path: path.parent.name)
def test_readme_shows_the_results(results: Path):
    readme = results.with_name("README.md").read_text(encoding="utf-8")
    assert readme == render_readme(results.parent)
    assert readme.count("|\n") >= 3
