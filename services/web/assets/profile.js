// A person: what they say of themself, what they wrote, and their favourites (`?show=favorites`).

import { get } from "api";
import { articleList, followButton } from "articles";
import { avatar, el } from "dom";
import { fill, nothingHere } from "frame";
import { knownUser } from "session";

const main = document.getElementById("main");
const head = main.querySelector("[data-profile]");
const username = nameOf(location.pathname);
const favorites = new URLSearchParams(location.search).get("show") === "favorites";

function nameOf(path) {
  const segment = path.split("/")[2];
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // Nobody is called so; the API says that they are not there.
  }
}

document.title = `${username} – Conduit`;
for (const link of main.querySelectorAll("[data-tab]")) {
  const tab = link.dataset.tab;
  link.href = location.pathname + (tab === "favorites" ? "?show=favorites" : "");
  if ((tab === "favorites") === favorites) link.setAttribute("aria-current", "page");
}
main.querySelector("[data-list-title]").textContent = favorites ? "Favorites" : "Articles";

fill(head, "The profile could not be loaded.", async () => {
  try {
    show((await get(`/api/profiles/${encodeURIComponent(username)}`)).profile);
  } catch (problem) {
    if (problem.kind !== "missing") throw problem;
    nothingHere(main, "Nobody has this name", "They may have changed it, or it was mistyped.");
  }
});

const mine = knownUser()?.username === username;
articleList(main.querySelector("[data-list]"), {
  path: () => ({ url: "/api/articles", filters: favorites ? { favorited: username } : { author: username } }),
  empty: () => {
    if (!mine)
      return el("p", {}, el("bdi", {}, username), favorites ? " has no favorites yet." : " has written nothing yet.");
    if (favorites) return el("p", {}, "You have no favorites yet. The heart on an article makes it one.");
    return [
      el("p", {}, "You have written nothing yet."),
      el("a", { class: "button", href: "/editor" }, "Write your first article"),
    ];
  },
}).show();

function show(profile) {
  const own = knownUser()?.username === profile.username;
  head.replaceChildren(
    avatar(profile, "large"),
    el(
      "div",
      { class: "profile-text" },
      el("h1", { dir: "auto" }, profile.username),
      profile.bio && el("p", { class: "bio", dir: "auto" }, profile.bio),
      el(
        "div",
        { class: "actions" },
        own ? el("a", { class: "button quiet", href: "/settings" }, "Edit profile") : followButton(profile, head),
      ),
    ),
  );
}
