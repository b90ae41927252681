"""The schema: the tables of one server, which holds the rows of one or more logical shards.

A row lives on its owner's shard: articles with their tags, comments and favourites on the author's, follows on the
follower's. No foreign key crosses owners. The primary key of an owned row starts with an id that carries the logical
shard (or with the shard itself, for counters), so that logical replication with a row filter can move one shard. The
directory (``usernames``, ``emails``, ``placements``) has no owner: from stage 5 on it is on one server.

Each write updates its counters. A counter has one row for each logical shard where writers would queue for one row.
"""

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData(
    naming_convention={
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "pk": "%(table_name)s_pkey",
    }
)


def _now(name: str) -> Column[object]:
    """The current time in milliseconds, the API's precision: the stored time is the one that was answered."""
    return Column(
        name,
        DateTime(timezone=True),
        nullable=False,
        server_default=text("date_trunc('milliseconds', now())"),
    )


# The state of a cover or report whose task takes long.
_STATES = "('pending', 'ready', 'failed')"

usernames = Table(
    "usernames",
    metadata,
    Column("username", Text, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("reserved_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

emails = Table(
    "emails",
    metadata,
    Column("email", Text, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("reserved_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
)

# Which server holds a logical shard, where there are several (``SHARDS``); no row where there is one.
placements = Table(
    "placements",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("server", Text, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("username", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("bio", Text),
    Column("image", Text),
    _now("created_at"),
    # Updated with each publication. From one row for each author, a feed reads its total, and which authors can have
    # any of its newest articles.
    Column("articles_count", Integer, nullable=False, server_default=text("0")),
    Column("last_article_id", BigInteger, nullable=False, server_default=text("0")),
    Index(None, "username", unique=True),
    Index(None, "email", unique=True),
    postgresql_with={"fillfactor": "90"},
)

articles = Table(
    "articles",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("slug", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("body", Text, nullable=False),
    # Denormalized and sorted, so that reads need no join. article_tags serves the filter.
    Column("tag_list", ARRAY(Text), nullable=False),
    Column("favorites_count", Integer, nullable=False, server_default=text("0")),
    _now("created_at"),
    _now("updated_at"),
    # The digest in the names of the cover's files, and whether they exist yet.
    Column("cover_digest", Text),
    Column("cover_state", Text),
    CheckConstraint(f"cover_state IN {_STATES}", name="cover_state"),
    CheckConstraint("(cover_digest IS NULL) = (cover_state IS NULL)", name="cover"),
    Index(None, "author_id", text("id DESC")),
    Index(None, "cover_digest", postgresql_where=text("cover_digest IS NOT NULL")),
    # Free space on each page, so that a new favorites_count is a heap-only update and touches no index.
    postgresql_with={"fillfactor": "85"},
)

article_tags = Table(
    "article_tags",
    metadata,
    Column("article_id", BigInteger, ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", Text, primary_key=True),
    Index(None, "tag", text("article_id DESC")),
)

favorites = Table(
    "favorites",
    metadata,
    Column("article_id", BigInteger, ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", BigInteger, primary_key=True),
    _now("created_at"),
    Index(None, "user_id", text("article_id DESC")),
)

comments = Table(
    "comments",
    metadata,
    Column("article_id", BigInteger, ForeignKey("articles.id", ondelete="CASCADE"), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("author_id", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    _now("created_at"),
    _now("updated_at"),
)

follows = Table(
    "follows",
    metadata,
    Column("follower_id", BigInteger, ForeignKey("users.id"), primary_key=True),
    Column("followee_id", BigInteger, primary_key=True),
    _now("created_at"),
    Index(None, "followee_id", "follower_id"),
)

# An author's reports on their audience. The row has the state, and Media keeps the file.
reports = Table(
    "reports",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, ForeignKey("users.id"), nullable=False),
    Column("state", Text, nullable=False),
    _now("created_at"),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint(f"state IN {_STATES}", name="state"),
    Index(None, "user_id", text("id DESC")),
)

# The transactional outbox: a task is written in the transaction that makes it necessary, and stays until it is done,
# so that a broker may lose its message. There is no foreign key to the owner, which may be deleted meanwhile.
outbox = Table(
    "outbox",
    metadata,
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False),
    Column("key", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("arguments", JSONB, nullable=False),
    Column("state", Text, nullable=False, server_default=text("'waiting'")),
    # How often the task was enqueued again or put back. A message carries it, so that a stale one is recognized.
    Column("generation", Integer, nullable=False, server_default=text("0")),
    # Attempts of this generation begun so far. A message carries the number of attempts before it, too.
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    # The worker that claimed the last attempt.
    Column("worker", Text),
    Column("error", Text),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    # When the relay sends the task again, unless it is claimed, its lease is renewed, or it is done before. A row that
    # is done is deleted at that time.
    Column("due_at", DateTime(timezone=True)),
    Column("finished_at", DateTime(timezone=True)),
    CheckConstraint("state IN ('waiting', 'running', 'retrying', 'dead', 'done')", name="state"),
    Index(None, "state", "due_at"),
)

article_counts = Table(
    "article_counts",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("count", BigInteger, nullable=False),
)

tag_counts = Table(
    "tag_counts",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("tag", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index("tag_counts_in_use_idx", "tag", postgresql_where=text("count > 0")),
)

# How many articles of this logical shard are a user's favourites: the total of the list filtered by `favorited`.
favorite_counts = Table(
    "favorite_counts",
    metadata,
    Column("shard", SmallInteger, primary_key=True, autoincrement=False),
    Column("user_id", BigInteger, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Index(None, "user_id"),
)

# Seeding and importing fill the tables in this order, which the foreign keys require.
DIRECTORY_TABLES = (usernames, emails)
OWNED_TABLES = (
    users,
    articles,
    article_tags,
    favorites,
    comments,
    follows,
    reports,
    outbox,
    article_counts,
    tag_counts,
    favorite_counts,
)

NEXT_ID = """
CREATE SEQUENCE id_sequence AS bigint CYCLE;
CREATE FUNCTION next_id(shard integer) RETURNS bigint LANGUAGE sql VOLATILE AS $$
    SELECT (((extract(epoch FROM clock_timestamp()) * 1000)::bigint - 1767225600000) << 12)
         | (shard::bigint << 6) | (nextval('id_sequence') & 63)
$$;
"""
