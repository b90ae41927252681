"""The hosts of one server: where several are named, one of them is the primary, and which one may change."""

from typing import Literal

from psycopg.conninfo import conninfo_to_dict, make_conninfo

_PORT = "5432"


class Hosts:
    """The hosts of a URL as ``postgresql://conduit@shard1a,shard1b/conduit``, the last one found first.

    libpq tries one after the other until one is ``wanted``: takes writes, or is a standby (``target_session_attrs``). A
    host that hangs costs it ``connect_timeout``, so the one that was found last is asked first.
    """

    def __init__(self, url: str, wanted: Literal["read-write", "standby"] = "read-write") -> None:
        self._wanted = wanted
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
        """For a connection to the one that is wanted."""
        hosts = self._hosts
        wanted = {"target_session_attrs": self._wanted} if self.are_several else {}
        named = {"host": ",".join(host for host, _ in hosts), "port": ",".join(port for _, port in hosts)}
        return make_conninfo("", **self._parameters | named | wanted)

    def found(self, host: str, port: int) -> bool:
        """It is there: a connection was made. Whether the last one was to another host."""
        moved = self._hosts[0] != (host, str(port))
        self._hosts = sorted(self._hosts, key=lambda one: one != (host, str(port)))
        return moved
