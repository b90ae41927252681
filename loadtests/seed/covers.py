"""The covers of the seed: four for each theme, of which about a third of the articles get one of their theme.

Few enough to be drawn and resized in a quarter of a minute, so that `SIZE=medium` stays under a minute; and the same
number at every size, so that the files a page asks for weigh as much.
"""

import io

from loadtests.pictures import motifs
from loadtests.seed.vocabulary import THEMES

VARIANTS = 4
COUNT = len(THEMES) * VARIANTS
SHARE = 1 / 3
# As somebody would upload it, whose picture it is: hardly less than what was drawn.
_QUALITY = 95


def of_theme(theme: int, u: float) -> int:
    """The number of one of a theme's covers; ``u`` from 0 up to, not including, 1."""
    return theme * VARIANTS + int(u * VARIANTS)


def upload(number: int) -> bytes:
    """The picture of a cover as it would be uploaded, a JPEG; the same every time."""
    theme, variant = divmod(number, VARIANTS)
    out = io.BytesIO()
    motifs.draw(theme, variant).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()
