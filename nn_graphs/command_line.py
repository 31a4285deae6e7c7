"""`nn-graphs`: what there is by name, and every experiment, where only the package is installed.

    nn-graphs list zoos                  # or tasks, encoders, experiments
    nn-graphs describe mnist_10k/inr_classification
    nn-graphs cards                      # of all zoos, as a page of Markdown
    nn-graphs inr_classification encoder=ng_t_small zoo=digits seed=1

An experiment takes the options of its `python main.py` (`--help`, `--multirun` ...), and writes to
`outputs/` in the folder in which it is started.
"""

import argparse
import runpy
import sys
from pathlib import Path

from nn_graphs.by_name.cards import cards_page, describe
from nn_graphs.by_name.named_parts import list_encoders, list_tasks, list_zoos
from nn_graphs.errors import NNGraphsError, check_known

PACKAGE = Path(__file__).parent
PLACES = (PACKAGE.parent / "experiments", PACKAGE / "experiments")  # of a clone, of a wheel
COMMANDS = ("list", "describe", "cards")
LISTS = {"zoos": list_zoos, "tasks": list_tasks, "encoders": list_encoders}


def experiments() -> dict[str, Path]:
    """The scripts of all experiments, by name."""
    found = (script for place in PLACES for script in sorted(place.glob("*/main.py")))
    return {script.parent.name: script for script in found}


def main() -> None:
    """The command; bad input ends it with a message."""
    try:
        _run(sys.argv[1:])
    except NNGraphsError as error:
        sys.exit(f"error: {error}")


def _run(arguments: list[str]) -> None:
    if arguments and arguments[0] not in COMMANDS and arguments[0][0] != "-":
        _start(*arguments)
        return
    lists = LISTS | {"experiments": lambda: tuple(experiments())}
    parser = argparse.ArgumentParser(
        prog="nn-graphs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what there is by name").add_argument("of", choices=lists)
    describing = commands.add_parser("describe", help="the card of a zoo, or of a task on it")
    describing.add_argument("name", help="<zoo> or <zoo>/<task>")
    commands.add_parser("cards", help="all cards of zoos, as Markdown")
    options = parser.parse_args(arguments)
    if options.command == "list":
        sys.stdout.writelines(f"{name}\n" for name in lists[options.of]())
    elif options.command == "cards":
        sys.stdout.write(cards_page())
    else:
        sys.stdout.write(f"{describe(options.name)}\n")


def _start(name: str, *options: str) -> None:
    """An experiment, as if its script had been called."""
    scripts = experiments()
    check_known(name, scripts, asked=f"run the experiment {name!r}")
    sys.argv = [str(scripts[name]), *options]
    runpy.run_path(str(scripts[name]), run_name="__main__")
