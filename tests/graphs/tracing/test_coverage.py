"""Families of transformers are traced as docs/coverage.md says."""

import re

import pytest

pytest.importorskip("transformers")

from tests.graphs.tracing.coverage import PAGE, TOLERANCE, coverage_of

CHOSEN = {
    **dict.fromkeys(
        ("albert", "apertus", "beit", "camembert", "dinov3_vit", "gemma3_text"), "traced"
    ),
    **dict.fromkeys(("hubert", "m2m_100", "nemotron", "qwen3", "olmo2"), "traced"),
    "fnet": "opaque",
}
ROW = re.compile(r"^\| ([\w.-]+) \| [\d,]+ \| (traced|opaque|refused) \|", re.MULTILINE)


@pytest.mark.parametrize("family", CHOSEN)
def test_chosen_families_are_traced(family):
    found = coverage_of(family)
    assert found.stands_for == CHOSEN[family]
    assert found.error < TOLERANCE


def test_the_page_names_the_chosen_ones():
    assert CHOSEN.items() <= dict(ROW.findall(PAGE.read_text())).items()


@pytest.mark.slow
@pytest.mark.parametrize(("family", "kind"), ROW.findall(PAGE.read_text()))
def test_all_families_are_traced_as_the_page_says(family, kind):
    found = coverage_of(family)
    assert found.stands_for == kind
    assert found.error is None or found.error < TOLERANCE
