"""Which modules are tried, each with the smallest suite that holds its promises."""

# What a change tells the caches, and what it does where a user or an article is gone.
_VANISHED = "whole/test_vanished.py"
_ABANDONED = "contract/queue/test_queue_abandoned.py"
_CHANGES = ("whole/test_events.py", _VANISHED)
# By module of the package conduit; files and folders below services/conduit/tests.
SUITES: dict[str, tuple[str, ...]] = {
    "ids": ("unit/test_ids.py",),
    "edge": ("contract/test_edge.py",),
    "adapters.limits_memory": ("contract/test_limits.py",),
    "adapters.limits_redis": ("contract/test_limits.py", "faults/test_redis_refuses.py"),
    "adapters.edge_purge": ("contract/test_edge.py", "faults/test_edge_goes_away.py"),
    "adapters.cache_invalidating": ("contract/cache/test_cache_invalidation.py",),
    "directory": ("faults/test_names_left_behind.py", "whole/test_events.py"),
    "articles": ("api/test_articles.py", *_CHANGES, "whole/test_mail.py"),
    "comments": ("api/test_comments.py", *_CHANGES),
    "profiles": ("api/test_profiles.py", *_CHANGES),
    "users": ("api/test_users.py", *_CHANGES),
    "outbox": ("contract/test_outbox.py",),
    "announcements": ("unit/test_announcements.py", "contract/tasks/test_tasks_mail_and_reports.py"),
    "reports": ("api/test_reports.py", "contract/tasks/test_tasks_mail_and_reports.py", _ABANDONED, _VANISHED),
    "covers": ("contract/tasks/test_tasks_covers.py", "api/test_covers.py", _ABANDONED, "whole/test_events.py"),
}
# A module is well tested from here on.
WANTED_PERCENT = 90.0
