// The newest articles by those whom the reader follows.

import { articleList } from "articles";
import { el } from "dom";
import { signInFirst, token } from "session";

const why = "Sign in to see the articles of those whom you follow.";

if (!token()) signInFirst(why);
else {
  addEventListener("conduit:signed-out", () => signInFirst(why));
  articleList(document.querySelector("[data-list]"), {
    path: () => ({ url: "/api/articles/feed" }),
    mine: true,
    what: "Your feed could not be loaded.",
    empty: () => [
      el(
        "p",
        {},
        "Here come the articles of people whom you follow. You follow nobody yet, or they have written nothing.",
      ),
      el("a", { class: "button", href: "/" }, "Find somebody to follow"),
    ],
  }).show();
}
