"""Who holds a port of this machine: a container, a process, or someone who cannot be seen."""

import os
import re
import socket
from pathlib import Path

from infra.stage.shell import answer

LISTENING = "0A"


def holder(port: int, own_project: str = "") -> str | None:
    """Who listens on the port of 127.0.0.1, as words for a message; None when it is free or the stage's own."""
    if not _in_use(port):
        return None
    rows = answer(["docker", "ps", "--filter", f"publish={port}", "--format", "{{.Names}}"]).stdout.split()
    if own_project and any(name.startswith(f"{own_project}-") for name in rows):
        return None
    if rows:
        return f"the container {rows[0]}"
    return _process_by_proc(port) or _process_by_lsof(port) or "a program of another user"


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            return True
    with socket.socket() as probe:
        # So that connections still closing after a `down` do not count; a listener does all the same.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return False  # a port below 1024: this user may not take it, the engine may
        except OSError:
            return True
    return False


def _process_by_proc(port: int) -> str | None:
    """On Linux: the socket's inode from /proc/net, then the process that has it open."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for columns in map(str.split, lines):
            if int(columns[1].rsplit(":", 1)[1], 16) == port and columns[3] == LISTENING:
                inodes.add(f"socket:[{columns[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(os.readlink(open_file) in inodes for open_file in (process / "fd").iterdir()):
                name = (process / "comm").read_text().strip()
                return f"the process {name} ({process.name})"
        except OSError:
            continue  # it ended, or belongs to another user
    return None


def _process_by_lsof(port: int) -> str | None:
    """On macOS, and wherever lsof is installed."""
    said = answer(["lsof", "-nP", f"-iTCP:{port}", "-sTCP:LISTEN", "-Fpc"]).stdout
    match = re.search(r"p(\d+)\nc(\S+)", said)
    return f"the process {match.group(2)} ({match.group(1)})" if match else None
