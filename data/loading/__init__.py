"""Filling databases in bulk: where rows belong, how they get in, and what a database says about what it holds."""
