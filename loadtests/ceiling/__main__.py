"""`python -m loadtests.ceiling 1 browse --quick`, without the stage commands around it."""

import argparse
import sys

from loadtests.ceiling.cli import main

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("stage", type=int)
    parser.add_argument("mix", nargs="?", default="browse")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    sys.exit(main(options.stage, options.mix, options.quick))
