// An article, and what is said about it.

import { call, get } from "api";
import { coverBox, byline, favoriteButton, followButton, tagLinks, whenCoversAreReady } from "articles";
import { articlePath, avatar, counted, day, el, profilePath, say } from "dom";
import { askFirst, draftOf, sending } from "forms";
import { fill, isBusy, nothingHere, whileBusy } from "frame";
import { markdown } from "markdown";
import { knownUser, leaveNote } from "session";

const COMMENTS_AT_ONCE = 20;
const WORDS_A_MINUTE = 220;
const main = document.getElementById("main");
const place = main.querySelector("[data-article]");
const talk = main.querySelector("[data-comments]");

const slug = slugOf(location.pathname);
const api = `/api/articles/${encodeURIComponent(slug)}`;

function slugOf(path) {
  const segment = path.split("/")[2];
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // No slug reads so; the API says that it is not there.
  }
}

function isGone(problem) {
  if (problem.kind !== "missing") return false;
  nothingHere(main, "This article is not here", "It may have been deleted, or its address mistyped.");
  return true;
}

fill(place, "The article could not be loaded.", async () => {
  try {
    show((await get(api)).article);
  } catch (problem) {
    if (!isGone(problem)) throw problem;
  }
});

// The article ------------------------------------------------------------------------------------------------

function show(article) {
  document.title = `${article.title} – Conduit`;
  // A renamed article is found under its old address too, and then has its new one.
  if (article.slug !== slug) {
    history.replaceState(null, "", articlePath(article.slug) + location.hash);
    draft.keep();
  }
  const mine = knownUser()?.username === article.author.username;
  const head = el("header", { class: "article-head" });
  const count = el("span", { class: "hint" }, counted(article.favoritesCount, "favorite", "favorites"));
  const changed = ({ favoritesCount }) => (count.textContent = counted(favoritesCount, "favorite", "favorites"));
  const actions = el(
    "div",
    { class: "actions" },
    mine ? ownActions(article, head) : followButton(article.author, head),
    favoriteButton(article, head, { changed }),
    count,
  );
  head.append(
    article.tagList.length > 0 ? tagLinks(article.tagList) : "",
    el("h1", { dir: "auto" }, article.title),
    el("p", { class: "standfirst", dir: "auto" }, article.description),
    el(
      "div",
      { class: "article-by" },
      byline(article.author, article.createdAt),
      el("span", { class: "hint" }, readingTime(article.body)),
      actions,
    ),
  );
  const body = el("div", { class: "prose" }, markdown(article.body));
  place.replaceChildren(head, ...coverOf(article), body);
  if (Date.parse(article.updatedAt) - Date.parse(article.createdAt) > 60_000) {
    place.append(el("p", { class: "hint changed" }, "Last changed ", day(article.updatedAt)));
  }
  whenCoversAreReady([article], (now) => {
    article.cover = now.cover;
    place.querySelector(".cover")?.replaceWith(...coverOf(article));
  });
}

function coverOf(article) {
  return article.cover ? [coverBox(article, "(min-width: 60rem) 56rem, 100vw", { first: true })] : [];
}

function ownActions(article, head) {
  const edit = el("button", { type: "button", class: "button quiet" }, "Edit article");
  edit.addEventListener("click", () => location.assign(`/editor/${encodeURIComponent(article.slug)}`));
  const remove = el("button", { type: "button", class: "button quiet bad" }, "Delete article");
  askFirst(remove, head, {
    question: "Delete this article with its comments? This can’t be undone.",
    yes: "Yes, delete it",
    what: "The article was not deleted.",
    work: async () => {
      await call("DELETE", `/api/articles/${encodeURIComponent(article.slug)}`);
      leaveNote("The article has been deleted.");
      location.assign(profilePath(article.author.username));
    },
  });
  return [edit, remove];
}

/** Words are counted where a script parts them; a script that does not is counted by its characters. */
function readingTime(text) {
  const unparted = text.match(/[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/gu)?.length ?? 0;
  const words = text.match(/[\p{L}\p{N}]+/gu)?.length ?? 0;
  return `${Math.max(1, Math.round((words + unparted / 2) / WORDS_A_MINUTE))} min read`;
}

// Comments ---------------------------------------------------------------------------------------------------

const form = talk.querySelector("form");
const list = talk.querySelector("[data-list]");
const older = talk.querySelector("[data-older]");
const text = form.elements.body;
let oldest = null;

const draft = draftOf(form, {
  gather: () => ({ body: text.value }),
  restore: (kept) => (text.value = kept.body ?? ""),
});
if (draft.restored) say("The comment that you began is still here.");

sending(form, {
  what: () => "The comment was not posted.",
  uncertain:
    "It may have been posted all the same. Load the page again and look, before you try again: what you typed is kept.",
  send: async () => {
    const { comment } = await call("POST", `${api}/comments`, { body: { comment: { body: text.value } } });
    form.reset();
    draft.drop();
    list.querySelector(".empty")?.remove();
    list.prepend(shownComment(comment));
    text.focus();
    say("Your comment has been posted.");
  },
});

/** One more is asked for than is shown, to know whether there are older ones. */
async function commentsBefore(id) {
  const query = new URLSearchParams({ limit: COMMENTS_AT_ONCE + 1 });
  if (id !== null) query.set("before", id);
  const { comments } = await get(`${api}/comments?${query}`);
  const some = comments.slice(0, COMMENTS_AT_ONCE);
  oldest = some.at(-1)?.id ?? oldest;
  older.hidden = comments.length <= COMMENTS_AT_ONCE;
  return some.map(shownComment);
}

fill(list, "The comments could not be loaded.", async () => {
  try {
    const shown = await commentsBefore(null);
    list.replaceChildren(...(shown.length ? shown : [el("p", { class: "empty" }, "Nobody has commented yet.")]));
  } catch (problem) {
    // Without the article there are no comments; the article's own call has said so.
    if (problem.kind !== "missing") throw problem;
  }
});

older.addEventListener("click", () => {
  if (isBusy(older)) return;
  const load = async () => {
    const shown = await commentsBefore(oldest);
    list.append(...shown);
    shown[0]?.focus();
  };
  whileBusy(older, () => fill(list, "The older comments could not be loaded.", load, { beside: talk }));
});

function shownComment(comment) {
  const { author } = comment;
  const shown = el("article", { class: "comment", tabindex: "-1", "aria-label": `Comment by ${author.username}` });
  const remove = el("button", { type: "button", class: "link bad" }, "Delete comment");
  const mine = knownUser()?.username === author.username;
  shown.append(
    avatar(author),
    el(
      "div",
      {},
      el(
        "p",
        { class: "comment-by" },
        el("a", { href: profilePath(author.username) }, el("bdi", {}, author.username)),
        day(comment.createdAt),
      ),
      el("p", { class: "comment-text", dir: "auto" }, comment.body),
      mine && remove,
    ),
  );
  askFirst(remove, shown, {
    question: "Delete your comment? This can’t be undone.",
    yes: "Yes, delete it",
    what: "The comment was not deleted.",
    work: async () => {
      try {
        await call("DELETE", `${api}/comments/${comment.id}`);
      } catch (problem) {
        if (problem.kind !== "missing") throw problem; // Gone is what was asked for.
      }
      shown.remove();
      if (!list.querySelector(".comment"))
        list.replaceChildren(el("p", { class: "empty" }, "Nobody has commented yet."));
      talk.querySelector("h2").focus();
      say("Your comment has been deleted.");
    },
  });
  return shown;
}
