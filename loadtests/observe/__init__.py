"""What observes a stage from outside: control groups, the machine, the apps' metrics. It knows no verdict.

``python -m loadtests.observe`` is the process that sees Docker's machine; ``observer`` drives it, and ``readings`` is
what it tells. Nothing of it runs inside a box.
"""
