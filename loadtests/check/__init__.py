"""`make stageN check`: faults under writers, and what became of each write."""
