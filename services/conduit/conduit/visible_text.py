"""What a reader sees of a text: nothing invisible in a name, and something visible in whatever is shown.

Two names that look the same are one name to a reader. So names have none of the characters that Unicode calls
default-ignorable, no fillers, and no controls of the writing direction, with which "jo" can be written in many ways.
Nor have they any space but single ordinary ones. What an emoji is made of is seen, and allowed where one stands.
"""

import re
import unicodedata

import idna

# Default-ignorable or blank, but letters, marks or symbols by their category: Hangul fillers, the grapheme joiner,
# Khmer's inherent vowels, Mongolian and other variation selectors, and Braille's blank.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# Controls, formats (zero width, bidi), private use, not assigned, line and paragraph separators.
_UNSEEN_CATEGORIES = ("Cc", "Cf", "Co", "Cn", "Zl", "Zp")
_JOINERS = "\u200c\u200d"
_EMOJI_JOINER, _EMOJI_STYLE = "\u200d", "\ufe0f"
_SKIN_TONES = re.compile("[\U0001f3fb-\U0001f3ff]")
# Whatever stands after one of these may be shown in another order.
_DIRECTIONS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def shows_something(text: str) -> bool:
    """Whether a reader sees anything of it but blanks."""
    return any(not character.isspace() and not _is_unseen(character) for character in text)


def has_unseen(name: str) -> bool:
    """Whether a name has a character that a reader can't see. A joiner counts where it changes nothing (RFC 5892)."""
    return any(
        _is_unseen(character)
        and not (character in _JOINERS and _joins(name, place))
        and not _is_of_an_emoji(name, place)
        for place, character in enumerate(name)
    )


def has_odd_space(name: str) -> bool:
    """Whether it has a space that looks like U+0020 or nearly so, or two in a row, which a page shows as one."""
    return "  " in name or any(character != " " and unicodedata.category(character) == "Zs" for character in name)


def turns_direction(text: str) -> bool:
    """Whether it sets the writing direction of what follows, beyond its own end."""
    return _DIRECTIONS.search(text) is not None


def _is_unseen(character: str) -> bool:
    return unicodedata.category(character) in _UNSEEN_CATEGORIES or _BLANK.match(character) is not None


def _is_of_an_emoji(name: str, place: int) -> bool:
    """Whether it makes the symbol before it an emoji, or joins two of them to one (Unicode Technical Standard 51)."""
    before, after = name[place - 1 : place], name[place + 1 : place + 2]
    if name[place] == _EMOJI_STYLE:
        return _is_symbol(before)
    return name[place] == _EMOJI_JOINER and (before == _EMOJI_STYLE or _is_symbol(before)) and _is_symbol(after)


def _is_symbol(character: str) -> bool:
    return character != "" and (unicodedata.category(character) == "So" or _SKIN_TONES.match(character) is not None)


def _joins(name: str, place: int) -> bool:
    try:
        return idna.valid_contextj(name, place)
    except ValueError:  # a neighbour without a known joining type
        return False
