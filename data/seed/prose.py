"""Sentences, titles and bodies from a small grammar: they read like text and are cheap to make by the
million.

Sentences are made once, a few hundred a theme; an article is a draw of them.
"""

import random
from dataclasses import dataclass

from data.seed import vocabulary
from data.seed.vocabulary import THEMES, Theme

SENTENCES_OF_THEME = 600
BODY_BYTES = 900
# Below PostgreSQL's threshold of 2 kB for a whole row, so that a body is never stored out of line.
BODY_BYTES_AT_MOST = 1200

_CLAIMS = (
    "{Things} are rarely the problem; what surrounds them is.",
    "Most {people} I know have strong opinions about {things}.",
    "When {people} talk about {things}, they usually mean {things2}.",
    "I used to think that {things} mattered less than {things2}.",
    "{Place}, {things} behave differently.",
    "There is a quiet pleasure in {things} that nobody mentions.",
    "It took me {number} years to understand why {things} come before {things2}.",
    "Ask {number} {people} about {things} and you will hear {number2} answers.",
    "{Place}, you learn quickly which {things} you can trust.",
    "The best {people} treat {things} as a question and not as an answer.",
    "Nobody warned me that {things} would change how I look at {things2}.",
    "What surprised me {place} was how much depends on {things}.",
    "{Things} and {things2} have more in common than {people} admit.",
    "If you remember one thing, let it be this: {things} first, {things2} later.",
    "We tried to do without {things} for {number} weeks.",
    "Last {season} I met {people} who had given up on {things} altogether.",
    "Good {things} are boring, and that is exactly their strength.",
    "Every {season} the same debate about {things} comes back {place}.",
    "You can measure {things}, but {people} will still argue about {things2}.",
    "Start with {things}, keep notes, and be patient {place}.",
)
_LINKS = (
    "",
    "",
    "",
    "In practice, ",
    "Looking back, ",
    "To be fair, ",
    "More often than not, ",
    "Even so, ",
    "After a while, ",
    "For what it is worth, ",
)
_TITLES = (
    "What {things} taught me about patience",
    "{Things}, {place}",
    "Why {people} still argue about {things}",
    "A short guide to {things}",
    "{Things} before {things2}",
    "{Number} lessons from {things}",
    "Learning to trust {things} {place}",
    "The case against {things}",
    "How {people} think about {things}",
    "In praise of {things}",
    "Notes on {things} {place}",
    "The hidden cost of {things}",
    "From {things} to {things2}",
    "What nobody tells you about {things}",
)
_DESCRIPTIONS = (
    "A few thoughts on {things}, and why {people} disagree.",
    "What I would do differently with {things} {place}.",
    "Some notes on {things} after {number} years.",
    "On {things}, {things2} and the time in between.",
    "Less about {things} than about {people}.",
)
_REMARKS = (
    "I had the same experience with {things}.",
    "Thank you, this is the clearest text on {things} I have read this {season}.",
    "I am not convinced: {place}, {things} matter more.",
    "What would you say to {people} who see {things} differently?",
    "Could you write more about {things2}?",
    "This made me look at {things} again.",
    "I tried this {place} and it worked on the {ordinal} attempt.",
    "My colleagues and I argued about {things} all week, and then we found this.",
    "A small correction: {people} usually begin with {things2}.",
    "Well put. I would only add a word about {things2}.",
)
_BIOS = (
    "Writes about {things} and {things2}.",
    "Curious about {things}. Listens to {people}.",
    "Once lost an argument about {things}; still thinking about it.",
    "Mostly {place}, usually with {things}.",
    "Learning from {people} since {year}.",
)
_NUMBERS = ("two", "three", "four", "five", "six", "seven", "ten")
_SEASONS = ("spring", "summer", "autumn", "winter")
_ORDINALS = ("first", "second", "third", "fourth")
_YEARS = ("1998", "2004", "2009", "2013", "2016", "2020")


def _fill(template: str, theme: Theme, rng: random.Random) -> str:
    things, things2 = rng.sample(theme.things, 2)
    number, number2 = rng.sample(_NUMBERS, 2)
    place = rng.choice(theme.places)
    return template.format(
        things=things,
        Things=things[0].upper() + things[1:],
        things2=things2,
        place=place,
        Place=place[0].upper() + place[1:],
        people=rng.choice(theme.people),
        number=number,
        Number=number.capitalize(),
        number2=number2,
        season=rng.choice(_SEASONS),
        ordinal=rng.choice(_ORDINALS),
        year=rng.choice(_YEARS),
    )


def _pool(templates: tuple[str, ...], theme: Theme, rng: random.Random, count: int) -> list[str]:
    return [_fill(templates[number % len(templates)], theme, rng) for number in range(count)]


def _linked(sentence: str, theme: Theme, rng: random.Random) -> str:
    """The sentence after a linking phrase, its first letter small unless the word is always written large."""
    link = rng.choice(_LINKS)
    starts_with_place = any(sentence.lower().startswith(place) for place in theme.places)
    if not link or starts_with_place or sentence.startswith(("I ", "If ", "When ", "Last ", "Every ")):
        return sentence
    return link + sentence[0].lower() + sentence[1:]


@dataclass(frozen=True)
class Shelf:
    """Text on one theme, ready to draw from. Sentences and remarks are UTF-8."""

    sentences: list[bytes]
    titles: list[str]
    descriptions: list[bytes]
    remarks: list[bytes]
    bios: list[bytes]

    def body(self, rng: random.Random) -> bytes:
        """Three paragraphs, BODY_BYTES long or a sentence more."""
        draw, sentences, count = rng.random, self.sentences, len(self.sentences)
        paragraphs = []
        used: set[int] = set()
        for _ in range(3):
            lines: list[bytes] = []
            length = 0
            while length < BODY_BYTES // 3:
                number = int(draw() * count)
                # The pool goes through the claims in turn: no body makes the same claim twice.
                claim = number % len(_CLAIMS)
                if claim in used:
                    continue
                used.add(claim)
                line = sentences[number]
                lines.append(line)
                length += len(line) + 1
            paragraphs.append(b" ".join(lines))
        return b"\n\n".join(paragraphs)

    def comment(self, rng: random.Random) -> bytes:
        """One to three sentences, of which the first is a remark."""
        draw = rng.random
        text = self.remarks[int(draw() * len(self.remarks))]
        for _ in range(int(draw() * 3)):
            text += b" " + self.sentences[int(draw() * len(self.sentences))]
        return text


def shelves() -> list[Shelf]:
    """A shelf for each of vocabulary.THEMES, the same at every size."""
    filled = []
    for number, theme in enumerate(THEMES):
        rng = random.Random(f"shelf {number}")
        pool = _pool(_CLAIMS, theme, rng, SENTENCES_OF_THEME)
        filled.append(
            Shelf(
                sentences=[_linked(sentence, theme, rng).encode() for sentence in pool],
                titles=_pool(_TITLES, theme, rng, 400),
                descriptions=[text.encode() for text in _pool(_DESCRIPTIONS, theme, rng, 200)],
                remarks=[text.encode() for text in _pool(_REMARKS, theme, rng, 300)],
                bios=[text.encode() for text in _pool(_BIOS, theme, rng, 100)],
            )
        )
    return filled


def title(shelf: Shelf, rng: random.Random) -> str:
    """A title; one in fifty is in another language."""
    if rng.random() < 0.02:
        return vocabulary.WORLD_TITLES[int(rng.random() * len(vocabulary.WORLD_TITLES))]
    return shelf.titles[int(rng.random() * len(shelf.titles))]
