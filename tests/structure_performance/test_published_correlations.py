"""Published numbers are found, and what was not published is said."""

from itertools import pairwise

from nn_graphs.structure_performance import PUBLISHED, published


def test_some_published_numbers():
    assert published("EA+TC+LF", "moons", "train") == 0.74
    assert published("EA+TC+LF", "covertype", "test") == 0.86
    assert published("EA+GC+LF", "imagenet", "test") == 0.74
    assert published("GC+RF", "housing", "train") == -0.05
    assert sum(map(len, PUBLISHED.values())) == 20


def test_each_row_is_below_the_one_before():
    for better, worse in pairwise(PUBLISHED):
        for dataset, pair in PUBLISHED[better].items():
            assert pair > PUBLISHED[worse][dataset]


def test_what_was_not_published(raises_saying):
    with raises_saying(asked="correlation of GC", found="no 'GC'", do="EA+TC+LF"):
        published("GC", "moons", "train")
    with raises_saying(asked="on digits", found="no 'digits'", do="covertype"):
        published("GC+LF", "digits", "train")
