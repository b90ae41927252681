"""Stages measured in turn, so that what the machine's speed does meanwhile is in all of their figures alike.

``cli`` has one stage after another searched, ``figures`` makes of what they found what each step gives.
"""
