"""Which modules are tried, each with the smallest suite that holds its promises."""

# By module of the package conduit; files and folders below services/conduit/tests.
SUITES: dict[str, tuple[str, ...]] = {
    "ids": ("unit/test_ids.py",),
    "edge": ("unit/test_edge.py",),
    "adapters.limits_memory": ("unit/test_limits.py",),
    "directory": ("promises/test_directory.py",),
    "articles": ("promises/test_articles.py",),
    "comments": ("promises/test_comments.py",),
    "profiles": ("promises/test_profiles.py",),
    "users": ("promises/test_users.py",),
}
# A module is well tested from here on.
WANTED_PERCENT = 90.0
