"""Download a data set or a zoo: `python data/download.py mnist`; `--list` tells which there are.

A file that only browsers are given is named with the page that offers it and the place to put it;
the same command then checks it, remembers its hash, and unpacks it.
"""

import argparse
import logging
import sys
from pathlib import Path

import pooch

from nn_graphs.datasets import data_root
from nn_graphs.download import DOWNLOADS, Download, fetch
from nn_graphs.errors import NNGraphsError


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="?", help="what to download")
    parser.add_argument("--root", type=Path, help="where to (default: NN_GRAPHS_DATA, else data)")
    parser.add_argument("--list", action="store_true", help="list what there is and stop")
    args = parser.parse_args()
    if args.name is None and not args.list:
        parser.error("give a name, or --list")
    return args


def line_of(download: Download) -> str:
    """Name, size, how it is got, licence: a line of `--list`."""
    size = f"{download.num_bytes / 1e6:.0f} MB" if download.num_bytes else "?"
    how = "by hand" if download.is_by_hand else ""
    return f"{download.name:<20}{size:>8}  {how:<9}{download.licence}"


def main() -> None:
    args = parse_arguments()
    if args.list:
        print("\n".join(line_of(download) for download in DOWNLOADS.values()))
        return
    pooch.get_logger().setLevel(logging.WARNING)  # the progress bar says the same
    try:
        folder = fetch(args.name, data_root(args.root))
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; the same command goes on from here")
    download = DOWNLOADS[args.name]
    print(f"Files:    {folder}\nLicence:  {download.licence}\nCite:     {download.citation}")


if __name__ == "__main__":
    main()
