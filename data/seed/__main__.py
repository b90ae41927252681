"""``python -m data.seed``."""

import sys

try:
    from data.seed.command import main

    sys.exit(main())
except KeyboardInterrupt:  # while the modules are still loading, before the command answers for itself
    print("\ninterrupted: nothing was changed.", file=sys.stderr)
    sys.exit(130)
