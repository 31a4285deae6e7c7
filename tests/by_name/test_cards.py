"""Every zoo has a whole card, of every task on it there is a description."""

import pytest

from nn_graphs.by_name import cards as file
from nn_graphs.by_name.cards import card_of, cards, describe
from nn_graphs.by_name.composing import compose
from nn_graphs.download import DOWNLOADS


@pytest.mark.parametrize("name", cards())
def test_a_card_is_whole_and_its_zoo_is_of_its_tasks(name):
    card = card_of(name)
    texts = (card.origin, card.licence, card.citation, card.networks, card.splits, card.labels)
    assert all(isinstance(text, str) and len(text) > 2 for text in (*texts, card.traps))
    assert card.version >= 1
    assert card.tasks
    config = compose(card.tasks[0], f"zoo={name}").zoo
    assert ("recipe" in config) == card.origin.startswith("made here")
    assert {card.download, card.images} - {None} <= set(DOWNLOADS)
    assert name in describe(name)


def test_downloads_tell_their_terms_and_sizes():
    for name, card in cards().items():
        if card.download is not None:
            assert card.licence == DOWNLOADS[card.download].licence
            assert f"python data/download.py {card.download} (" in describe(name)


def test_tasks_are_described():
    text = describe("small_cnns_digits/cnn_generalization")
    assert "metric: tau" in text
    assert "licence" in text


def test_a_card_without_a_licence(tmp_path, monkeypatch, raises_saying):
    path = tmp_path / "cards.yaml"
    path.write_text("own: {version: 1, tasks: [inr_classification], origin: here}")
    monkeypatch.setattr(file, "FILE", path)
    with raises_saying(asked="card of own", found="it lacks licence, citation", do="cards.yaml"):
        cards.__wrapped__()


def test_unknown_names(raises_saying):
    with raises_saying(asked="'digit'", found="but 'digits'", do="mnist"):
        describe("digit")
    with raises_saying(asked="'digits/editing'", found="'editing'", do="style_editing"):
        describe("digits/editing")
