"""What share of a box's CPU goes to static files, covers and slow work.

By leaving a part of a mix out: trials of the whole mix and of the mix without a part take turns, at one rate and with
the same arrivals, and what the boxes' control groups count less is the part's. What is done inside a request and cannot
be left out from outside (mail) is the app's own to tell: the CPU that it counts for each kind of slow work.
"""
