"""The words of the dataset: names, tags and their themes, and what the sentences about each theme speak of."""

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIRST_NAMES = _words(
    "ada alan alice amara amir anders anna anton astrid bela ben bianca boris carla carlos cecilia chidi "
    "clara daniel daria david diego dina edith elena elias emil emma eric esther eva fatima felix fiona "
    "frida gabriel george grace greta hanna hassan hedwig helen henry hugo ida igor ines ingrid irene "
    "isaac ivan jack jana jasper joan jonas julia kamal karin karl kate kenji kofi lara leo lena lina "
    "louis lucia magda malik mara marco maria martin mina miriam mohan nadia nadine nils nina noah nora "
    "olga oscar otto paula peter petra pia rafael rana rosa ruth sam samira sara selma simon sofia stefan "
    "tara theo thomas tilda tom ursula vera victor vivian walter wanda yara yusuf zara"
)

LAST_NAMES = _words(
    "abbott adler ahmed almeida arnold bach baker barros bauer becker bell bennett berg blake bloom bond "
    "braun brooks brown burke campos carter castro chen clark cohen cole costa cruz dahl diaz dixon dunn "
    "ellis erikson evans farrell fischer fox frank garcia gomez grant gray green haas hale hansen harris "
    "hayes hill hoffmann holm hunt ibrahim ito jansen jensen jones kaya keller kim klein koch kowalski "
    "kumar lane larsen lehmann lewis lind lopez lund marsh meyer mills moore moreau morris nagy nash "
    "nguyen novak olsen ortiz owens park patel perez petrov pohl porter quinn ramos reed reyes rice rossi "
    "roth sato schmidt scott silva singh smith stein stone tanaka torres vargas vogel wagner walsh ward "
    "weber wells west white winter wolf wood yilmaz young"
)

WORLD_NAMES = _words(
    "josé_muñoz zoë_lefèvre søren_østergård łukasz_żak åsa_björk jürgen_groß çağla_şahin nguyễn_thị_mai "
    "ирина_соколова дмитро_шевченко ελένη_παπαδοπούλου 佐藤_陽子 田中_健 王_小明 李_娜 김_서연 박_지훈 ליאור_כהן "
    "فاطمة_الزهراء अनन्या_शर्मा สมชาย_ใจดี მარიამ_გელაშვილი"
)


@dataclass(frozen=True)
class Theme:
    """What articles about one thing speak of: ten tags, things (plural), places, and people who deal with them."""

    tags: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    people: tuple[str, ...]


def _theme(tags: str, things: str, places: str, people: str) -> Theme:
    """Words are separated by commas."""
    return Theme(*(tuple(word.strip() for word in words.split(",")) for words in (tags, things, places, people)))


THEMES = (
    _theme(
        "programming, python, testing, refactoring, algorithms, compilers, open-source, typescript, rust, debugging",
        "small functions, unit tests, type hints, long branches, code reviews, stack traces, naming habits, loops",
        "in an old code base, behind a clean interface, in the build, at the edge of a module",
        "reviewers, maintainers, new colleagues, library authors",
    ),
    _theme(
        "databases, postgresql, indexing, sql, replication, transactions, caching, sharding, backups, queues",
        "partial indexes, slow queries, row locks, long transactions, replicas, query plans, counters, cold caches",
        "on a busy primary, under real traffic, in the nightly report, behind the connection pool",
        "operators, database people, analysts, on-call engineers",
    ),
    _theme(
        "architecture, microservices, scaling, load-testing, observability, devops, containers, linux, networking, "
        "security",
        "timeouts, retries, dashboards, health checks, deployments, load balancers, error budgets, base images",
        "between two services, at the edge, on a single box, during an outage",
        "platform teams, architects, site engineers, auditors",
    ),
    _theme(
        "cooking, baking, bread, vegetarian, soups, fermentation, spices, breakfast, italian-food, desserts",
        "sourdough loaves, slow soups, pickled vegetables, fresh herbs, lentils, pie crusts, sauces, dumplings",
        "in a small kitchen, on a weeknight, at the market, over a low flame",
        "home cooks, bakers, guests, grandparents",
    ),
    _theme(
        "travel, trains, hiking, cycling, city-walks, islands, camping, maps, budget-travel, mountains",
        "night trains, mountain huts, ferry timetables, paper maps, side streets, long climbs, border towns, tents",
        "along the coast, above the tree line, far from the station, in the old town",
        "conductors, hikers, locals, fellow travellers",
    ),
    _theme(
        "gardening, vegetables, composting, bees, trees, balcony-garden, seeds, soil, herbs, houseplants",
        "tomato seedlings, compost heaps, wild flowers, raised beds, fruit trees, late frosts, earthworms, beans",
        "on a north-facing balcony, behind the shed, in heavy clay, after the first rain",
        "gardeners, neighbours, beekeepers, botanists",
    ),
    _theme(
        "books, writing, poetry, novels, essays, libraries, translation, reading, editing, storytelling",
        "first drafts, short novels, footnotes, quiet endings, translations, notebooks, long sentences, book clubs",
        "in the second chapter, at the library, between the lines, on the night table",
        "editors, poets, slow readers, translators",
    ),
    _theme(
        "music, jazz, guitar, piano, vinyl, concerts, songwriting, recording, choirs, rhythm",
        "old records, chord changes, small concerts, drum patterns, rehearsals, worn strings, demos, harmonies",
        "in the practice room, on stage, at the back of the hall, in three-four time",
        "pianists, singers, sound engineers, listeners",
    ),
    _theme(
        "science, physics, astronomy, biology, climate, mathematics, statistics, chemistry, oceans, evolution",
        "careful measurements, star charts, error bars, old proofs, field notes, coral reefs, small samples, fossils",
        "in the laboratory, under the microscope, beyond the horizon, in the data",
        "researchers, students, amateur astronomers, statisticians",
    ),
    _theme(
        "history, cities, design, photography, museums, typography, film, craft, woodworking, art",
        "black-and-white prints, city plans, hand tools, letterforms, old bridges, silent films, sketches, archives",
        "in the museum, at the workbench, on the main square, in the darkroom",
        "curators, photographers, carpenters, historians",
    ),
    _theme(
        "health, running, sleep, swimming, yoga, climbing, meditation, chess, football, habits",
        "easy runs, rest days, cold mornings, breathing exercises, morning routines, warm-ups, endgames, rituals",
        "before breakfast, at the pool, in the last kilometre, on the board",
        "coaches, beginners, club players, physiotherapists",
    ),
    _theme(
        "work, remote-work, meetings, teams, careers, teaching, learning, productivity, startups, economics",
        "short meetings, written plans, hiring rounds, handovers, deadlines, weekly notes, side projects, budgets",
        "in a remote team, on Monday morning, at the whiteboard, across time zones",
        "managers, teachers, founders, apprentices",
    ),
)

# In the order of their names: a sorted list of numbers is a sorted list of tags.
TAGS = tuple(sorted(tag for theme in THEMES for tag in theme.tags))
_NUMBER = {tag: number for number, tag in enumerate(TAGS)}
TAGS_OF_THEME = tuple(tuple(_NUMBER[tag] for tag in theme.tags) for theme in THEMES)
THEME_OF_TAG = {tag: theme for theme, tags in enumerate(TAGS_OF_THEME) for tag in tags}
# The first tag of every theme, then the second of every theme, …: popular tags come from all themes.
TAGS_BY_POPULARITY = tuple(tag for rank in zip(*TAGS_OF_THEME, strict=True) for tag in rank)

WORLD_TITLES = (
    "Ein Jahr ohne Auto – was bleibt",
    "Como aprender algo difícil, despacio",
    "L’été où j’ai tout relu",
    "Hur man bygger ett tråkigt system som håller",
    "Почему простые решения живут дольше",
    "Чому варто писати листи від руки",
    "Τι έμαθα από έναν κήπο",
    "静かな朝の過ごし方",
    "小さなチームで大きく考える",
    "为什么慢查询值得感谢",
    "느린 기차를 타는 이유",
    "كيف نكتب جملة قصيرة",
    "מה למדתי מלחם אחד",
    "छोटे क़दम, लंबा रास्ता",
)
