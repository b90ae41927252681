"""Experiments on a running stage: something breaks or expires while people use it, and what they notice is counted.

Each says what it did, what came of it, and whether what the stage promises held.
"""
