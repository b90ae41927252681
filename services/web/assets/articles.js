// Articles in lists: cards with covers, favourites and following, and a list that is paged through.

import { call, get } from "api";
import { articlePath, avatar, counted, day, el, hue, icon, initial, pause, profilePath } from "dom";
import { act, fill } from "frame";
import { knownUser } from "session";

// Covers -----------------------------------------------------------------------------------------------------

// As wide as the sizes can be; one that was uploaded smaller is smaller, and its box keeps the shape all the same.
const WIDTHS = { small: 320, medium: 800, large: 1600 };
const STATES = { pending: "Cover is being prepared", failed: "This cover could not be made" };
// A cover is made in some seconds where it is not made at once. Who has waited this long may reload.
const ASK_AGAIN_AFTER_SECONDS = [1.5, 3, 6, 12, 24];

/**
 * An article's cover in a box of fixed shape, so that nothing moves when it comes; a drawing of the article's own
 * colour where there is none. `sizes` says how wide it is shown; `first` loads it before all others.
 */
export function coverBox(article, sizes, { first = false } = {}) {
  const box = el(
    "div",
    { class: "cover" },
    el("span", { class: "cover-letter", "aria-hidden": "true" }, initial(article.title)),
  );
  box.style.setProperty("--hue", hue(article.slug));
  box.style.setProperty("--at", `${hue(article.title) / 3.6}%`);
  const cover = article.cover;
  if (cover && STATES[cover.state])
    box.append(el("span", { class: `cover-state ${cover.state}` }, STATES[cover.state]));
  if (cover?.state === "ready") {
    const picture = el("img", {
      alt: "",
      sizes,
      decoding: "async",
      loading: first ? "eager" : "lazy",
      fetchpriority: first && "high",
    });
    picture.addEventListener("error", () => picture.remove());
    picture.srcset = Object.entries(WIDTHS)
      .map(([size, width]) => `${cover[size]} ${width}w`)
      .join(", ");
    picture.src = cover.medium;
    box.append(picture);
  }
  return box;
}

/** Ask again, a few times, for articles whose covers are pending; `update` gets each that no longer is. */
export async function whenCoversAreReady(articles, update) {
  let waiting = articles.filter((article) => article.cover?.state === "pending");
  for (const seconds of ASK_AGAIN_AFTER_SECONDS) {
    if (!waiting.length) return;
    await pause(seconds);
    const still = [];
    for (const article of waiting) {
      try {
        const { article: now } = await get(`/api/articles/${encodeURIComponent(article.slug)}`);
        if (now.cover?.state === "pending") still.push(article);
        else update(now);
      } catch (problem) {
        // A server that is busy just now says so to whatever else is asked; the cover goes on being made.
        if (problem.kind !== "missing") still.push(article);
      }
    }
    waiting = still;
  }
}

// Favourites and following -----------------------------------------------------------------------------------

// These buttons are named by what they do next. They have no aria-pressed besides: "Unfavorite, pressed" would say the
// opposite. The class is for the eye.
const showAsOn = (button, on) => button.classList.toggle("on", on);

/** The button that makes an article a favourite or not; `changed` gets the article as it then is. */
export function favoriteButton(article, place, { describedBy, compact = false, changed = () => {} } = {}) {
  const words = el("span", { class: compact && "unseen" });
  const number = compact && el("span", { class: "number", "aria-hidden": "true" });
  const button = el(
    "button",
    { type: "button", class: "favorite", "aria-describedby": describedBy },
    icon("heart"),
    words,
    number,
  );
  const show = () => {
    showAsOn(button, article.favorited);
    words.textContent = article.favorited ? "Unfavorite" : "Favorite";
    if (number) number.textContent = article.favoritesCount.toLocaleString("en");
  };
  button.addEventListener("click", () =>
    act(button, place, "That was not kept.", async () => {
      const method = article.favorited ? "DELETE" : "POST";
      const { article: now } = await call(method, `/api/articles/${encodeURIComponent(article.slug)}/favorite`);
      Object.assign(article, { favorited: now.favorited, favoritesCount: now.favoritesCount });
      show();
      changed(article);
    }),
  );
  show();
  return button;
}

/** The button that follows a person or no longer; nothing for oneself. */
export function followButton(person, place) {
  if (knownUser()?.username === person.username) return null;
  const button = el("button", { type: "button", class: "button quiet follow", dir: "auto" });
  const show = () => {
    showAsOn(button, person.following);
    button.textContent = `${person.following ? "Unfollow" : "Follow"} ${person.username}`;
  };
  button.addEventListener("click", () =>
    act(button, place, "That did not work.", async () => {
      const method = person.following ? "DELETE" : "POST";
      const { profile } = await call(method, `/api/profiles/${encodeURIComponent(person.username)}/follow`);
      person.following = profile.following;
      show();
    }),
  );
  show();
  return button;
}

/** Who wrote something and when. */
export function byline(author, time) {
  return el(
    "div",
    { class: "byline" },
    avatar(author),
    el("span", {}, el("a", { href: profilePath(author.username) }, el("bdi", {}, author.username)), day(time)),
  );
}

export function tagLinks(tags) {
  return el(
    "ul",
    { class: "tags", "aria-label": "Tags" },
    tags.map((tag) => el("li", {}, tagLink(tag))),
  );
}

export const tagLink = (tag) => el("a", { class: "tag", href: `/?tag=${encodeURIComponent(tag)}`, dir: "auto" }, tag);

// Lists ------------------------------------------------------------------------------------------------------

// One that leads and three rows of three, where there is room for them.
const PER_PAGE = 10;
// The API counts rows to skip up to here; what lies deeper is asked for by the id that it is older than.
const MAX_OFFSET = 10_000;
const TAGS_ON_A_CARD = 3;

function card(article, { lead = false, first = false } = {}) {
  const path = articlePath(article.slug);
  const title = el("a", { href: path, id: `title-${idOf(article.slug)}` }, article.title);
  const sizes = lead ? "(min-width: 60rem) 34rem, 94vw" : "(min-width: 60rem) 19rem, (min-width: 38rem) 46vw, 7rem";
  const shown = el("article", { class: lead ? "card lead" : "card" });
  const beyond = article.tagList.length - TAGS_ON_A_CARD;
  shown.append(
    // The title is the link to the article; its box covers the whole card, so the cover needs none of its own.
    coverBox(article, sizes, { first }),
    el(
      "div",
      { class: "card-text" },
      el("h3", { dir: "auto" }, title),
      el("p", { class: "description", dir: "auto" }, article.description),
      article.tagList.length > 0 && tagLinks(article.tagList.slice(0, TAGS_ON_A_CARD)),
      beyond > 0 && el("span", { class: "unseen" }, `and ${counted(beyond, "more tag", "more tags")}`),
      el(
        "div",
        { class: "card-foot" },
        byline(article.author, article.createdAt),
        favoriteButton(article, shown, { compact: true, describedBy: title.id }),
      ),
    ),
  );
  return shown;
}

const idOf = (slug) => slug.split("-").at(-1);

/**
 * A list of articles in a section of the page, paged by its address: `?page=` or, beyond what the API skips to,
 * `?before=`. `path` is the API's list with its filters, `empty` makes what stands in place of no articles, and `mine`
 * says that only the signed-in user has it. Returns {show}, which shows another path's first page or the address's.
 */
export function articleList(section, { path, empty, mine = false, what = "The articles could not be loaded." }) {
  const cards = section.querySelector("[data-cards]");
  const heading = section.querySelector("[data-list-title]");
  const total = section.querySelector("[data-total]");
  const paging = section.querySelector("[data-paging]");
  const [previous, next] = paging.querySelectorAll("button");
  let under = new AbortController();
  let last = null;
  let filled = false;

  function asked() {
    const query = new URLSearchParams(location.search);
    const page = Math.max(1, Math.floor(Number(query.get("page"))) || 1);
    const before = /^\d{1,16}$/.test(query.get("before") ?? "") ? query.get("before") : null;
    return { page, before };
  }

  function addressOf({ page, before }) {
    const url = new URL(location.href);
    url.searchParams.delete("page");
    url.searchParams.delete("before");
    if (before) url.searchParams.set("before", before);
    else if (page > 1) url.searchParams.set("page", page);
    return url.pathname + url.search;
  }

  async function load(place) {
    under.abort();
    under = new AbortController();
    const query = new URLSearchParams({ limit: PER_PAGE });
    if (place.before) query.set("before", place.before);
    else if (place.page > 1) query.set("offset", Math.min(MAX_OFFSET, (place.page - 1) * PER_PAGE));
    const { url, filters } = path();
    for (const [name, value] of Object.entries(filters ?? {})) query.set(name, value);
    const found = await get(`${url}?${query}`, { signal: under.signal, mine });
    draw(found, place);
  }

  function draw({ articles, articlesCount }, place) {
    filled = true;
    last = { place, articles, count: articlesCount };
    total.textContent = articlesCount > 0 ? counted(articlesCount, "article", "articles") : "";
    const pages = Math.ceil(articlesCount / PER_PAGE);
    const leads = articles.length > 2;
    if (articles.length) {
      cards.replaceChildren(
        ...articles.map((article, at) => card(article, { lead: leads && at === 0, first: at === 0 })),
      );
    } else if (articlesCount > 0) {
      cards.replaceChildren(
        el(
          "div",
          { class: "empty" },
          el("p", {}, "There is nothing on this page."),
          el("a", { class: "button", href: addressOf({ page: 1 }) }, "To the first page"),
        ),
      );
    } else {
      cards.replaceChildren(el("div", { class: "empty" }, empty()));
    }
    const deep = Boolean(place.before);
    paging.hidden = !deep && pages <= 1 && place.page === 1;
    paging.querySelector("[data-position]").textContent = deep
      ? "Older articles"
      : `Page ${place.page.toLocaleString("en")} of ${Math.max(pages, place.page).toLocaleString("en")}`;
    previous.disabled = !deep && place.page === 1;
    next.disabled = deep ? articles.length < PER_PAGE : place.page >= pages;
    whenCoversAreReady(articles, (now) => {
      const at = articles.findIndex((article) => article.slug === now.slug);
      const shown = cards.children[at];
      if (last.articles !== articles || !shown) return;
      shown.replaceWith(card(now, { lead: shown.classList.contains("lead") }));
    });
  }

  /** Turn to another page: what is shown stays until the other is here, and so does the address. */
  function turn(button, place) {
    const failed = "That page could not be loaded.";
    const work = async () => {
      await load(place);
      history.pushState(null, "", addressOf(place));
      heading.focus({ preventScroll: true });
      section.scrollIntoView({ block: "start" });
    };
    button.classList.add("working");
    fill(cards, failed, work, { beside: paging }).finally(() => button.classList.remove("working"));
  }

  next.addEventListener("click", () => {
    const { place, articles } = last;
    const deeper = place.before || place.page * PER_PAGE > MAX_OFFSET;
    turn(next, deeper ? { page: 0, before: idOf(articles.at(-1).slug) } : { page: place.page + 1 });
  });
  previous.addEventListener("click", () => {
    if (last.place.before) history.back();
    else turn(previous, { page: last.place.page - 1 });
  });

  const show = () => fill(cards, what, () => load(asked()), { beside: filled ? paging : null });
  addEventListener("popstate", show);
  return { show };
}
