"""A stage with two shards, of which nothing runs: what its boxes say is a test's."""

from infra.stage.topology import Topology

DATABASES = {"directory": ("directory",), "shard1": ("shard1a", "shard1b"), "shard2": ("shard2a", "shard2b")}
STAGE = Topology(5, "conduit-stage5", {}, "cdn", 8000, 8005, DATABASES, apps=("app1", "app2", "app3"))
