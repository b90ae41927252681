// The newest articles of all, or those with a tag.

import { get } from "api";
import { articleList, tagLink } from "articles";
import { counted, el } from "dom";
import { fill } from "frame";
import { token } from "session";

const TAGS_AT_FIRST = 18;
const tag = new URLSearchParams(location.search).get("tag");

if (tag) {
  document.title = `${tag} – Conduit`;
  document.querySelector("[data-list-title]").replaceChildren("Articles about ", el("q", { dir: "auto" }, tag));
  document.querySelector(".feeds [href='/']").removeAttribute("aria-current");
}

articleList(document.querySelector("[data-list]"), {
  path: () => ({ url: "/api/articles", filters: tag ? { tag } : {} }),
  empty: () =>
    tag
      ? el("p", {}, "No article has this tag yet. ", el("a", { href: "/" }, "See all articles"))
      : el(
          "p",
          {},
          "Nothing has been written yet. ",
          el("a", { href: token() ? "/editor" : "/register" }, "Be the first"),
        ),
}).show();

const tags = document.querySelector("[data-tags]");
fill(tags, "The tags could not be loaded.", async () => showTags((await get("/api/tags")).tags));

function showTags(names) {
  if (!names.length) return tags.replaceChildren(el("p", { class: "hint" }, "There are no tags yet."));
  const list = el("ul", { class: "tags" });
  const draw = (some) => list.replaceChildren(...some.map((name) => el("li", {}, marked(tagLink(name)))));
  draw(names.slice(0, TAGS_AT_FIRST));
  tags.replaceChildren(list);
  if (names.length <= TAGS_AT_FIRST) return undefined;
  const search = el("input", { type: "search", id: "tag-search", autocomplete: "off" });
  const found = el("p", { class: "hint", role: "status" });
  search.addEventListener("input", () => {
    const part = search.value.normalize("NFC").trim().toLocaleLowerCase();
    const some = names.filter((name) => name.toLocaleLowerCase().includes(part));
    draw(some);
    found.textContent = counted(some.length, "tag", "tags");
  });
  const all = el("button", { type: "button", class: "link" }, `Show all ${counted(names.length, "tag", "tags")}`);
  all.addEventListener("click", () => {
    draw(names);
    all.replaceWith(el("div", { class: "field" }, el("label", { for: "tag-search" }, "Find a tag"), search, found));
    search.focus();
  });
  tags.append(all);
  return undefined;
}

function marked(link) {
  if (link.textContent === tag) link.setAttribute("aria-current", "true");
  return link;
}
