"""The command line."""

import argparse
from pathlib import Path
from typing import Any

BATCH = 64  # images in a step


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> Any:
        """Prints the line and leaves with exit code 2."""
        self.exit(2, f"{self.prog}: error: {message}\n")


def positive(text: str) -> int:
    """Parses a positive integer."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive integer")
    return int(text)


def parse(arguments: list[str] | None, summary: str) -> tuple[Parser, argparse.Namespace]:
    """Reads the command line; `--quick` changes the defaults only."""
    parser = Parser(description=summary)
    parser.add_argument("--data", metavar="FILE.npz", help="x, uint8 (n, H, H), and y, n labels")
    parser.add_argument("--sizes", type=positive, nargs="+", help="training-set sizes [100 300 1000]")
    parser.add_argument("--seeds", type=positive, help="runs for each size [3]")
    parser.add_argument("--steps", type=positive, help=f"steps of {BATCH} images for each run [250]")
    parser.add_argument("--seed", type=int, default=0, help="seed of the split and of the first run")
    parser.add_argument("--quick", action="store_true", help="two sizes, one seed, 120 steps, few angles")
    parser.add_argument("--out", type=Path, default=Path("rotated_digits_out"), help="output folder")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure here")
    options = parser.parse_args(arguments)
    options.sizes = sorted(set(options.sizes or ([100, 300] if options.quick else [100, 300, 1000])))
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.steps = options.steps or (120 if options.quick else 250)
    options.angles = list(range(0, 360, 45 if options.quick else 15))
    if options.seed < 0:
        parser.error(f"--seed is {options.seed}; it must not be negative")
    return parser, options
