"""The ceiling of a stage.

The highest offered rate that holds the SLO, what lies beyond it, and why it is there.
"""
