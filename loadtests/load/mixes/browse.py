"""A site that people read: 80 % reads, 20 % writes.

Reads, of all requests: an article 30 %, the home list 18 %, comments 12 %, a list by tag 8 %, a profile 6 %,
the feed 6 %. 70 % of the reads are anonymous; the feed never is, so 24 % of the other reads are signed in.
Writes: favourite 8 %, comment 6 %, follow 4 %, publish 2 %. Articles, profiles and tags are drawn by Zipf's
law so that a fifth of them gets four fifths of the requests; who is signed in is drawn evenly. Arrivals are a
Poisson process.
"""

from loadtests.load.mixes import actions
from loadtests.load.mixes.readers import Readers

READS: dict[actions.Action, float] = {
    actions.article: 30,
    actions.home: 18,
    actions.comments: 12,
    actions.by_tag: 8,
    actions.profile: 6,
    actions.feed: 6,
}
WRITES: dict[actions.Action, float] = {
    actions.favorite: 8,
    actions.comment: 6,
    actions.follow: 4,
    actions.publish: 2,
}

readers = Readers(READS, WRITES, anonymous=0.7)
draw = readers.draw
