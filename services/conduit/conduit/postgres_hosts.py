"""The hosts of one server: where several are named, one of them is the primary, and which one may change."""

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_PORT = "5432"


class Hosts:
    """The hosts of a URL as ``postgresql://conduit@shard1a,shard1b/conduit``, the last one found first.

    libpq tries one after the other until one takes writes (``target_session_attrs``). A host that hangs costs it
    ``connect_timeout``, so the one that was the primary last is asked first.
    """

    def __init__(self, url: str) -> None:
        self._parameters = conninfo_to_dict(url)
        hosts = str(self._parameters.pop("host", "")).split(",")
        ports = str(self._parameters.pop("port", _PORT)).split(",")
        ports = ports * len(hosts) if len(ports) == 1 else ports
        self._hosts = [(host, port or _PORT) for host, port in zip(hosts, ports, strict=True)]

    @property
    def are_several(self) -> bool:
        return len(self._hosts) > 1

    @property
    def text(self) -> str:
        """Each host and port, without the rest of the URL, which may contain a password."""
        return ",".join(f"{host}:{port}" for host, port in self._hosts)

    def conninfo(self) -> str:
        """For a connection to the primary."""
        hosts = self._hosts
        primary = {"target_session_attrs": "read-write"} if self.are_several else {}
        named = {"host": ",".join(host for host, _ in hosts), "port": ",".join(port for _, port in hosts)}
        return make_conninfo("", **self._parameters | named | primary)

    def found(self, host: str, port: int) -> bool:
        """The primary is there: a connection was made. Whether it was another host's before."""
        moved = self._hosts[0] != (host, str(port))
        self._hosts = sorted(self._hosts, key=lambda one: one != (host, str(port)))
        return moved
