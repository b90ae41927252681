"""Reports as who reads them has them, for tests."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from loadtests import report

ADDRESS = re.compile(r"""(?:src|href|url|@import)\s*[=(]|//[a-z]|https?:""")


class Balanced(HTMLParser):
    """Raises when a tag is closed that was not the last one opened."""

    void = frozenset({"meta", "line", "circle", "path"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:  # noqa: ARG002 - the parser's signature
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def checked(html: str) -> str:
    """The text of a page, which must be balanced and ask for nothing from elsewhere."""
    assert not ADDRESS.search(html), ADDRESS.search(html)
    parser = Balanced()
    parser.feed(html)
    assert parser.open == []
    return " ".join(parser.text)


def written(folder: Path, run: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(run))
    return checked(report.write(folder).read_text())
