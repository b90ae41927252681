"""``python -m loadtests.seed``."""

import sys

from loadtests.seed.command import main

sys.exit(main())
