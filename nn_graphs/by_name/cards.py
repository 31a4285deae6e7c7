"""Cards: what is to be known of a zoo or a task before a score on it is believed."""

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hydra.utils import get_class
from omegaconf import OmegaConf

from nn_graphs.by_name.composing import compose
from nn_graphs.download import DOWNLOADS
from nn_graphs.errors import NNGraphsError, check_known
from nn_graphs.tasks.task import Task

FILE = Path(__file__).parent / "zoo_cards.yaml"


@dataclass(frozen=True)
class Card:
    """What is known of a zoo.

    Attributes:
        name: of the zoo, as `get_zoo` takes it.
        version: counted up where its networks become others.
        tasks: that are made of it.
        origin: who made it, from what.
        licence: of the networks, and of what they were trained on.
        citation: what to cite.
        networks: what they are.
        splits: how they were made, and why they are disjoint.
        labels: what is predicted, and its range.
        traps: how a score on it can mislead.
        download: the entry in `nn_graphs.download.DOWNLOADS`, where it is downloaded.
        images: that of what the networks were trained on, where that is downloaded.
        superseded_by: the zoo to take instead.
    """

    name: str
    version: int
    tasks: tuple[str, ...]
    origin: str
    licence: str
    citation: str
    networks: str
    splits: str
    labels: str
    traps: str
    download: str | None = None
    images: str | None = None
    superseded_by: str | None = None

    @property
    def size(self) -> str | None:
        """Of what is downloaded; None: nothing is."""
        if self.download is None:
            return None
        count = DOWNLOADS[self.download].num_bytes
        return "not known" if count is None else f"{count / 1e6:,.0f} MB"

    def __str__(self) -> str:
        """A line a field."""
        fields = dataclasses.asdict(self) | {"tasks": ", ".join(self.tasks)}
        shown = {key: value for key, value in fields.items() if value is not None}
        if self.download is not None:
            shown["download"] = f"python data/download.py {self.download} ({self.size})"
        width = max(map(len, shown))
        return "\n".join(f"{key:{width}}  {value}" for key, value in shown.items())


@cache
def cards() -> Mapping[str, Card]:
    """Of all zoos, by name.

    Raises:
        NNGraphsError: a card lacks a field.
    """
    content = OmegaConf.to_container(OmegaConf.load(FILE))
    return {name: _made(name, _whole(name, content)) for name in content}


def card_of(zoo: str) -> Card:
    """The card of a zoo.

    Raises:
        NNGraphsError: there is no such zoo.
    """
    check_known(zoo, cards(), asked=f"describe the zoo {zoo!r}")
    return cards()[zoo]


def describe(name: str) -> str:
    """What is to be known of a zoo, or of a task on it (`<zoo>/<task>`), as text.

    Raises:
        NNGraphsError: there is no such zoo, or no such task on it.
    """
    zoo, _, task = name.partition("/")
    card = card_of(zoo)
    if not task:
        return str(card)
    check_known(task, card.tasks, asked=f"describe the task {name!r}")
    kind: type[Task] = get_class(compose(task, f"zoo={zoo}").target._target_)
    says = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return f"{says}\nmetric: {kind.metric}{f' in {kind.unit}' if kind.unit else ''}\n\n{card}"


def cards_page() -> str:
    """All cards as a page of Markdown, `docs/zoos.md`."""
    parts = [
        "# Zoos\n\nWhat `nn-graphs cards` prints; cards are `nn_graphs/by_name/zoo_cards.yaml`.\n"
    ]
    for name, card in cards().items():
        rows = [line.split(maxsplit=1) for line in str(card).splitlines()[1:]]
        table = "\n".join(f"| {key} | {value} |" for key, value in rows)
        parts.append(f"\n## {name}\n\n| | |\n|---|---|\n{table}\n")
    return "".join(parts)


def _whole(name: str, content: Mapping[str, dict]) -> dict:
    """The fields of a card, with those of the card that it is like."""
    own = dict(content[name])
    like = own.pop("like", None)
    return (_whole(like, content) if like else {}) | own


def _made(name: str, fields: dict) -> Card:
    published = DOWNLOADS.get(fields.get("download"))
    if published is not None:
        fields = fields | {"licence": published.licence, "citation": published.citation}
    missing = [
        field.name
        for field in dataclasses.fields(Card)
        if field.default is dataclasses.MISSING and field.name not in {*fields, "name"}
    ]
    if missing:
        raise NNGraphsError(
            f"read the card of {name}",
            found=f"it lacks {', '.join(missing)}.",
            do=f"Add them in {FILE.name}.",
        )
    return Card(name=name, **fields | {"tasks": tuple(fields["tasks"])})
