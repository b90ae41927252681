"""A site that people read and seldom write to: 95 % reads, 5 % writes.

Reads, of all requests: an article 36 %, the home list 21 %, comments 14 %, a list by tag 10 %, a profile 7 %,
the feed 7 %. 70 % of the reads are anonymous; the feed never is, so 24 % of the other reads are signed in.
Writes: favourite 2 %, comment 1.5 %, follow 1 %, publish 0.5 %. Articles, profiles and tags are drawn by Zipf's
law so that a fifth of them gets four fifths of the requests; who is signed in is drawn evenly. Arrivals are a
Poisson process. Beside `browse` it shows what a cache is worth where less is written.
"""

from loadtests.load.mixes import actions
from loadtests.load.mixes.readers import Readers

READS: dict[actions.Action, float] = {
    actions.article: 36,
    actions.home: 21,
    actions.comments: 14,
    actions.by_tag: 10,
    actions.profile: 7,
    actions.feed: 7,
}
WRITES: dict[actions.Action, float] = {
    actions.favorite: 2,
    actions.comment: 1.5,
    actions.follow: 1,
    actions.publish: 0.5,
}

draw = Readers(READS, WRITES, anonymous=0.7).draw
