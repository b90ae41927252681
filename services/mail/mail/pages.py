"""The HTML pages. Everything from a sender is escaped."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from urllib.parse import urlencode

from mail.inbox import Counts
from mail.letters import Letter

_LINK = re.compile(r"https?://[^\s<>\"']+")

STYLE = """
:root { color-scheme: light dark; --ink: #1d2327; --soft: #5b666e; --line: #d9dee2; --paper: #fff; --lift: #f4f6f7;
  --accent: #0b6b53; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6eaec; --soft: #9aa6ae; --line: #333c42; --paper: #14191c; --lift: #1c2327; --accent: #63cfae; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 58rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
p { margin: .25rem 0 1rem; color: var(--soft); }
a { color: var(--accent); text-underline-offset: .15em; }
a:focus-visible, input:focus-visible, button:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
form { display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; margin: 0 0 1.25rem; }
input, button { font: inherit; color: inherit; padding: .4rem .65rem; border: 1px solid var(--line);
  border-radius: .4rem; background: var(--lift); }
input { flex: 1 1 12rem; min-width: 0; }
ul { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--line); }
li { padding: .75rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
li a { font-weight: 600; }
li span, dt { color: var(--soft); font-size: .9rem; }
li span { display: block; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1rem; margin: 1rem 0; }
dd { margin: 0; overflow-wrap: anywhere; }
pre { background: var(--lift); border: 1px solid var(--line); border-radius: .4rem; padding: 1rem; margin: 1rem 0;
  white-space: pre-wrap; overflow-wrap: anywhere; font: .95rem/1.55 ui-monospace, monospace; }
""".lstrip()


def listing(letters: Sequence[Letter], counts: Counts, recipient: str, more: bool) -> str:
    """The page of the newest messages, or of those to one address. ``more`` means that there are older ones."""
    rows = "".join(
        f'<li><a href="/messages/{letter.message.number}">{escape(letter.subject or "(no subject)")}</a>'
        f"<span>to {escape(letter.to)} · from {escape(letter.sender)} · {_time(letter.message.at)}</span></li>"
        for letter in letters
    )
    nothing = (
        f"Nothing for {escape(recipient)}." if recipient else "Nothing yet: publish an article that has followers."
    )
    older = ""
    if more and letters:
        query = {"before": letters[-1].message.number} | ({"to": recipient} if recipient else {})
        older = f'<p><a href="/?{escape(urlencode(query))}">Older messages</a></p>'
    return _page(
        "Mail",
        f"<h1>Mail</h1><p>The outside world&#x2019;s mail server: it keeps what the app sends and delivers nothing.<br>"
        f"{_summary(counts)}</p>"
        f'<form role="search"><label for="to">Sent to</label>'
        f'<input id="to" name="to" type="email" autocomplete="off" value="{escape(recipient)}">'
        f'<button>Show</button> <a href="/">All</a></form>'
        + (f"<ul>{rows}</ul>{older}" if rows else f"<p>{nothing}</p>"),
    )


def message(letter: Letter) -> str:
    """The page of one message."""
    lines = {
        "From": letter.sender,
        "To": letter.to,
        "Delivered to": ", ".join(letter.message.recipients),
        "Date": letter.date,
        "Message-ID": letter.message_id,
    }
    facts = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in lines.items() if value)
    number = letter.message.number
    return _page(
        letter.subject or "(no subject)",
        f'<p><a href="/">All messages</a></p><h1>{escape(letter.subject or "(no subject)")}</h1><dl>{facts}</dl>'
        f'<pre>{_linked(letter.text)}</pre><p><a href="/messages/{number}/source">Source</a></p>',
    )


def error(sentence: str) -> str:
    """The page of an error."""
    return _page("Not here", f'<h1>{escape(sentence)}</h1><p><a href="/">All messages</a></p>')


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="icon" href="data:,"><link rel="stylesheet" href="/style.css">'
        f"<title>{escape(title)}</title><body><main>{body}</main></body></html>"
    )


def _summary(counts: Counts) -> str:
    parts = [f"{counts.kept} kept", f"{counts.received} received since the start"]
    if counts.duplicates:
        parts.append(f"{counts.duplicates} duplicates dropped")
    if counts.dropped:
        parts.append(f"{counts.dropped} oldest dropped at the limit")
    return " · ".join(parts)


def _time(at: float) -> str:
    moment = datetime.fromtimestamp(at, UTC)
    return f'<time datetime="{moment.isoformat(timespec="milliseconds")}">{moment:%Y-%m-%d %H:%M:%S} UTC</time>'


def _linked(text: str) -> str:
    parts, end = [], 0
    for match in _LINK.finditer(text):
        url = escape(match.group())
        parts.append(f'{escape(text[end : match.start()])}<a href="{url}" rel="noreferrer">{url}</a>')
        end = match.end()
    return "".join([*parts, escape(text[end:])])
