"""`python -m loadtests.report runs/…` makes a run's report again."""

import sys
from pathlib import Path

from loadtests.report import write

if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(write(Path(name)))
