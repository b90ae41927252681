"""What an article's text becomes, in the browser that shows it; and that no text takes long."""

import pytest
from playwright.sync_api import Page, expect

from tests.pages.visitors import Visitor

pytestmark = [pytest.mark.stage, pytest.mark.docker]

# The module as the pages import it. What it made is read back as HTML here, and only here.
_MADE = """async (text) => {
  const { markdown } = await import("markdown");
  const place = document.createElement("div");
  const before = performance.now();
  place.append(markdown(text));
  return [place.innerHTML.replaceAll(' dir="auto"', ""), performance.now() - before];
}"""
LETTERS = 200_000  # as many as the API takes
# Far above what any of these takes, and far below what one takes whose time grows with the square.
MOST_MS = 3000

WRITTEN = {
    "paragraphs": ("one\nline\n\nanother", "<p>one\nline</p><p>another</p>"),
    "line ends": ("a  \nb\\\nc", "<p>a<br>b<br>c</p>"),
    "headings never skip a level": ("# A\n#### B\n## C\n### D #", "<h2>A</h2><h3>B</h3><h3>C</h3><h4>D</h4>"),
    "emphasis": ("**a *b* c** ***d*** ~~e~~ _f_", "<p><strong>a <em>b</em> c</strong> <strong><em>d</em></strong> "
                 "<del>e</del> <em>f</em></p>"),
    "names and products are none": ("snake_case_name 2*3*4 a * b * c", "<p>snake_case_name 2*3*4 a * b * c</p>"),
    "code": ("`**a**`\n```py\nif a < b:\n    *c*\n```\nafter",
             '<p><code>**a**</code></p><pre tabindex="0"><code>if a &lt; b:\n    *c*</code></pre><p>after</p>'),
    "lists": ("- a\n- b\n  - c\n\n3. d\n4. e",
              '<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul><ol start="3"><li>d</li><li>e</li></ol>'),
    "quotes": ("> a\n> - b\n\nc", "<blockquote><p>a</p><ul><li>b</li></ul></blockquote><p>c</p>"),
    "a rule": ("a\n\n* * *\n\nb", "<p>a</p><hr><p>b</p>"),
    "escaped": (r"\*a\* \_b\_", "<p>*a* _b_</p>"),
    "no HTML": ("<b>a</b> <script>b()</script>", "<p>&lt;b&gt;a&lt;/b&gt; &lt;script&gt;b()&lt;/script&gt;</p>"),
    "links": ("[a](https://b.example/c_d_e) https://f.example/g.",
              '<p><a href="https://b.example/c_d_e" rel="nofollow ugc noopener">a</a> '
              '<a href="https://f.example/g" rel="nofollow ugc noopener">https://f.example/g</a>.</p>'),
    "no scripts for links": ("[a](javascript:alert(1)) [b](data:text/html,c)",
                             "<p>[a](javascript:alert(1)) [b](data:text/html,c)</p>"),
    "nothing": ("", ""),
}  # fmt: skip
# Each repeated to the length that the API takes; every kind of mark that could send a pattern looking far.
REPEATED = [
    *("*", "_", "`", "`a", "[", "[a](", "**a", "**a ", "*a ", "~~a", ">", "> ", "# ", "#", "http://", "\\*", " "),
    *("- ", "- a\n", "- a\n\n", " - a\n   ", "a\n", "a  \n", "a\n\n", "\r\n", "```\n", "```\na\n", "~~~\n```\n"),
]
LONG = {repr(one): one * (LETTERS // len(one)) for one in REPEATED} | {
    "spaces in a heading": "# a" + " " * LETTERS + "#x",
    "hashes in a heading": "# a " + "#" * LETTERS + "x",
    "runs of ticks": "".join("`" * length + "a" for length in range(600)),
}


@pytest.fixture
def page(visitor: Visitor) -> Page:
    return visitor.go("/login")


def test_what_is_written_becomes_what_is_meant(page: Page) -> None:
    made = {name: page.evaluate(_MADE, text)[0] for name, (text, _) in WRITTEN.items()}
    assert made == {name: html for name, (_, html) in WRITTEN.items()}


def test_no_text_takes_long(page: Page) -> None:
    slow = {}
    for name, text in LONG.items():
        _, milliseconds = page.evaluate(_MADE, text)
        if milliseconds > MOST_MS:
            slow[name] = milliseconds
    assert slow == {}
    expect(page.get_by_role("heading", level=1)).to_be_visible()
