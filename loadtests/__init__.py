"""Load, measured: traffic mixes, an open-model generator, the ceiling search and its report."""
