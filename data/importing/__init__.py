"""Brings the data of one set of servers to another, verified.

Every row goes to the server that holds its logical shard there, which the row's leading id says; the
directory goes to the first server. Each source is read in one snapshot, each target is written in one
transaction, and before that is committed both sides must agree on the count and the checksum of every table.

The sequence ``id_sequence`` stays behind: it only tells apart the ids of one millisecond and shard, and an id
that the target makes carries a later millisecond than any it was given.
"""
