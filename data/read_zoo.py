"""Read the files of a published zoo, or a folder of checkpoints, into one zoo file.

    python data/read_zoo.py --format dws_mnist --folder mnist-inrs --output data/mnist_inrs.h5
    python data/read_zoo.py --format nfn --folder siren_cifar_wts --num-augmented 20 --output ...
    python data/read_zoo.py --format small_cnn_zoo --folder small_cnn_zoo_cifar10/cifar10 ...
    python data/read_zoo.py --format wild_park --folder cnn_wild_park.zip --output ...
    python data/read_zoo.py --format folder --folder mine --module my_nets:make --output ...
    python data/read_zoo.py --format folder --folder mine --module nets:Small nets:ResNet \\
        --input-shape 3 32 32 --output ...

No code in the files is ever run. What cannot be used is skipped and reported.
"""

import argparse
import json
import logging
import os
import sys
from dataclasses import fields
from pathlib import Path

from nn_graphs.errors import NNGraphsError
from nn_graphs.graphs.parts.node_groups import shown_layout
from nn_graphs.networks.inr import PRESETS
from nn_graphs.zoos.readers.given_architectures import (
    Architecture,
    ChainArchitecture,
    INRArchitecture,
    read_spec,
)
from nn_graphs.zoos.readers.module_architecture import ModuleArchitecture
from nn_graphs.zoos.readers.module_choice import ModuleChoice
from nn_graphs.zoos.readers.read_report import summary
from nn_graphs.zoos.readers.read_zoo import FORMATS, open_or_read_zoo
from nn_graphs.zoos.readers.sources import ZooSource
from nn_graphs.zoos.zoo import Zoo


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--format", choices=list(FORMATS), required=True)
    parser.add_argument("--folder", type=Path, required=True, help="where the files are")
    parser.add_argument("--output", type=Path, required=True, help="the zoo file to write")
    source = parser.add_argument_group("the files")
    source.add_argument("--splits", type=Path, help="JSON (dws_*; default: looked for)")
    source.add_argument("--labels", type=Path, help="CSV (folder; default: labels.csv in it)")
    source.add_argument("--dataset", help="images that the INRs show (folder)")
    source.add_argument("--image-dataset", help="images (nfn; default: as the folder is called)")
    source.add_argument("--num-augmented", type=int, help="re-fits per training image (nfn)")
    source.add_argument("--split-points", type=int, nargs=3, help="image numbers (nfn)")
    source.add_argument("--activation", choices=["relu", "tanh"], help="only these (small_cnn_zoo)")
    source.add_argument("--steps", type=int, nargs="+", help="epochs (small_cnn_zoo; default: 86)")
    source.add_argument("--diverged", choices=["drop", "keep"], help="small_cnn_zoo")
    source.add_argument("--path-column", help="of the labels (folder; default: path)")
    source.add_argument("--architecture-column", help="with JSON files of specs (folder)")
    source.add_argument("--run-columns", nargs="+", help="that tell runs apart (folder)")
    source.add_argument("--val-share", type=float, help="of the runs (folder, wild_park)")
    source.add_argument("--test-share", type=float, help="of the runs (folder, wild_park)")
    source.add_argument("--prefix", help="of one of several networks in each file (folder)")
    source.add_argument(
        "--transposed",
        action=argparse.BooleanOptionalAction,
        help="whether weights are [in, out] (folder)",
    )
    source.add_argument(
        "--flat",
        dest="is_flat",
        action="store_const",
        const=True,
        help="files hold one vector each, in the architecture's order (folder)",
    )
    source.add_argument("--seed", type=int, help="of that split")
    source.add_argument("--num-workers", type=int, default=4, help="threads that read ahead")
    source.add_argument("--strict", action="store_true", help="stop at a file that cannot be used")
    network = parser.add_argument_group("the architecture (default: as published)")
    kinds = network.add_mutually_exclusive_group()
    kinds.add_argument("--preset", choices=list(PRESETS), help="INRs of this convention")
    kinds.add_argument("--spec", type=Path, help="JSON file, as by NetworkSpec.to_json")
    kinds.add_argument("--chains", metavar="ACTIVATION", help="MLPs of any widths, as files say")
    kinds.add_argument(
        "--module",
        nargs="+",
        help="your torch module, package.module:factory; it is called. Of several, a column module "
        "or the names of tensors tell which one a file is of",
    )
    network.add_argument("--layer-layout", type=int, nargs="+", help="of --preset, as 2 32 32 1")
    network.add_argument("--in-width", type=int, help="inputs of --module (default: as it says)")
    network.add_argument(
        "--input-shape", type=int, nargs="+", help="of one input of --module, as 3 32 32"
    )
    network.add_argument("--arguments", nargs="+", default=[], help="of --module, as hidden_dim=32")
    return parser


def make_source(options: argparse.Namespace, parser: argparse.ArgumentParser) -> ZooSource:
    """The source of the chosen format, from the options that it has."""
    source = FORMATS[options.format]
    names = {field.name for kind in FORMATS.values() for field in fields(kind) if field.init}
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    strange = sorted(given.keys() - {field.name for field in fields(source)})
    if strange:
        option = strange[0].replace("_", "-")
        parser.error(f"--{option} is no option of --format {options.format}")
    return source(**given)


def make_architecture(
    options: argparse.Namespace, parser: argparse.ArgumentParser
) -> Architecture | None:
    """The architecture that the options describe; None: as published."""
    if options.layer_layout and not options.preset:
        parser.error("--layer-layout needs --preset")
    if (options.arguments or options.in_width or options.input_shape) and not options.module:
        parser.error("--arguments, --in-width and --input-shape need --module")
    if len(options.module or ()) > 1 and (options.arguments or options.in_width):
        parser.error("--arguments and --in-width are for one --module")
    if options.preset:
        return INRArchitecture(options.preset, options.layer_layout)
    if options.chains:
        return ChainArchitecture(options.chains)
    if options.spec:
        return read_spec(options.spec)
    if options.module:
        sys.path.append(os.getcwd())  # where the user's own modules are
        if len(options.module) > 1:
            return ModuleChoice(options.module, options.input_shape)
        arguments = dict(read_argument(text, parser) for text in options.arguments)
        return ModuleArchitecture(
            options.module[0], arguments, options.in_width, options.input_shape
        )
    return None


def read_argument(text: str, parser: argparse.ArgumentParser) -> tuple[str, object]:
    """`name=value`; values that are JSON are read as such, others are strings."""
    name, equals, value = text.partition("=")
    if not equals:
        parser.error(f"--arguments takes name=value, not {text}")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def describe(zoo: Zoo) -> str:
    """The architecture of a zoo, or how many it has."""
    if len(zoo.specs) > 1:
        return f"{len(zoo.specs)} architectures"
    return f"architecture {shown_layout(zoo.spec.layer_layout)}"


def main() -> None:
    parser = make_parser()
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        zoo = open_or_read_zoo(
            make_source(options, parser),
            options.output,
            architecture=make_architecture(options, parser),
            num_workers=options.num_workers,
            strict=options.strict,
        )
    except NNGraphsError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted; nothing was written")
    print(f"{options.output}: {summary(zoo.metadata['report'])}; {describe(zoo)}")


if __name__ == "__main__":
    main()
