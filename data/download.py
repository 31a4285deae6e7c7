"""Download a data set: `python data/download.py mnist`; `--list` tells which there are."""

import argparse
import sys
from pathlib import Path

from nn_graphs.datasets import data_root
from nn_graphs.download import DOWNLOADS, fetch
from nn_graphs.errors import NNGraphsError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", nargs="?", help="which data set to download")
    parser.add_argument("--root", type=Path, help="where to (default: NN_GRAPHS_DATA, else data)")
    parser.add_argument("--list", action="store_true", help="list the data sets and stop")
    args = parser.parse_args()
    if args.list:
        print("\n".join(f"{name:16}{DOWNLOADS[name].licence}" for name in DOWNLOADS))
        return
    if args.name is None:
        parser.error("give a name, or --list")
    try:
        folder = fetch(args.name, data_root(args.root))
    except NNGraphsError as error:
        sys.exit(str(error))
    download = DOWNLOADS[args.name]
    print(f"Files:    {folder}\nLicence:  {download.licence}\nCite:     {download.citation}")


if __name__ == "__main__":
    main()
