"""Which modules are tried, each with the smallest suite that holds its promises."""

from typing import NamedTuple


class Package(NamedTuple):
    """Where a package and its tests are: ``folder`` from the repository's root, the rest from there.

    ``copied`` is what the tests need beside the package, ``options`` are pytest's, ``servers`` says whether they want
    PostgreSQL and Redis. A module is well tested where ``wanted_percent`` of its faults are found.
    """

    name: str
    folder: str
    tests: str
    copied: tuple[str, ...]
    options: tuple[str, ...]
    servers: bool
    wanted_percent: float


# Where rows lie on several servers, more faults show.
CONDUIT = Package(
    "conduit", "services/conduit", "tests", ("conduit_testing", "tests"), ("--deployment=two servers",), True, 90.0
)
LOADTESTS = Package("loadtests", ".", "loadtests/tests", ("infra",), (), False, 95.0)


def package_of(module: str) -> Package:
    """The package of a module of SUITES: those of the app are named without it."""
    return LOADTESTS if module.startswith("loadtests.") else CONDUIT


def path_of(module: str) -> str:
    """The file of a module of SUITES, from the folder of its package."""
    return ("" if package_of(module) is LOADTESTS else "conduit/") + module.replace(".", "/") + ".py"


# What a change tells the caches, and what it does where a user or an article is gone.
_VANISHED = "whole/test_vanished.py"
_ABANDONED = "contract/queue/test_queue_abandoned.py"
_CHANGES = ("whole/test_events.py", _VANISHED)

# By module of the package conduit, or of loadtests by its whole name; files and folders below the package's tests.
SUITES: dict[str, tuple[str, ...]] = {
    "ids": ("unit/test_ids.py",),
    "edge": ("contract/test_edge.py",),
    "adapters.limits_memory": ("contract/test_limits.py",),
    "adapters.limits_redis": ("contract/test_limits.py", "faults/test_redis_refuses.py"),
    "adapters.edge_purge": ("contract/test_edge.py", "faults/test_edge_goes_away.py"),
    "adapters.cache_invalidating": ("contract/cache/test_cache_invalidation.py",),
    "adapters.cache_changes": ("contract/cache/test_cache_steps.py", "contract/cache/test_cache_changes.py"),
    "bulkhead": ("unit/test_bulkhead.py",),
    "crowd": ("unit/test_crowd.py", "unit/test_crowd_looks.py"),
    "directory": ("faults/test_names_left_behind.py", "whole/test_events.py"),
    "articles": ("api/test_articles.py", *_CHANGES, "whole/test_mail.py"),
    "comments": ("api/test_comments.py", *_CHANGES),
    "profiles": ("api/test_profiles.py", *_CHANGES),
    "users": ("api/test_users.py", *_CHANGES),
    "outbox": ("contract/test_outbox.py",),
    "announcements": ("unit/test_announcements.py", "contract/tasks/test_tasks_mail_and_reports.py"),
    "reports": ("api/test_reports.py", "contract/tasks/test_tasks_mail_and_reports.py", _ABANDONED, _VANISHED),
    "covers": ("contract/tasks/test_tasks_covers.py", "api/test_covers.py", _ABANDONED, "whole/test_events.py"),
    "loadtests.ceiling.verdict": ("test_verdict.py",),
    "loadtests.ceiling.speed": ("test_speed.py",),
    "loadtests.ceiling.sequential": ("test_sequential.py",),
    "loadtests.ceiling.estimate": ("test_estimate.py",),
    "loadtests.ceiling.search": ("test_search.py", "test_search_disturbed.py"),
    "loadtests.ceiling.demand": ("test_demand.py",),
    "loadtests.ceiling.prediction": ("test_prediction.py",),
    "loadtests.ceiling.explain": ("test_explain.py",),
    "loadtests.ceiling.overload": ("test_overload.py",),
    "loadtests.turns.figures": ("test_turns.py",),
}
