"""Media on the app's own disk. It suits one app box; several boxes need a shared store."""

import os
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from conduit.errors import UnavailableError
from conduit.media_names import checked, public_address


class DiskMedia:
    """Files under ``directory``, named as Media names them. The app itself serves the public ones at ``/media/``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def close(self) -> None:
        """Nothing: no file stays open."""

    def put(self, name: str, content: bytes, content_type: str) -> None:  # noqa: ARG002 - a file has no type
        target = self._directory / checked(name)
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _write_whole(target, content)
        except OSError as error:
            raise UnavailableError("the media store") from error

    def get(self, name: str) -> bytes | None:
        try:
            return (self._directory / checked(name)).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UnavailableError("the media store") from error

    def delete(self, name: str) -> None:
        try:
            (self._directory / checked(name)).unlink(missing_ok=True)
        except OSError as error:
            raise UnavailableError("the media store") from error

    def left_in(self, folder: str, older_than: float) -> list[str]:
        """As in Media. Also deletes partial files of a process that died."""
        latest = time.time() - older_than
        found = []
        try:
            for path in (self._directory / checked(folder)).iterdir():
                with suppress(FileNotFoundError):  # deleted meanwhile
                    if path.stat().st_mtime > latest:
                        continue
                    if path.name.startswith("."):
                        path.unlink()
                    else:
                        found.append(f"{folder}/{path.name}")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError("the media store") from error
        return found

    def url(self, name: str) -> str:
        return public_address(name)


def _write_whole(target: Path, content: bytes) -> None:
    """Write atomically: to a temporary file, flushed to disk before it is renamed. A crash leaves no partial file."""
    descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=".")
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
