"""Mutation testing: small faults are put into the modules that hold the app's promises, and tests must find them.

mutmut makes the faults and runs the tests. ``suites`` says which module is tried with which tests, ``trial`` runs one
module, ``report`` is a pure function of the results in docs/runs/mutants and of explained.toml.
"""
