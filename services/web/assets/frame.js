// What every page has: its header, a note from the page before, and one way to say what went wrong.

import { get } from "api";
import { avatar, el, profilePath, say } from "dom";
import { knownUser, remember, signInFirst, takeNote, token } from "session";

const SIGNING_IN = ["/login", "/register"];

// The header -------------------------------------------------------------------------------------------------

function showUser() {
  const user = knownUser();
  const place = document.querySelector("[data-me]");
  if (!user) return place.replaceChildren();
  const link = el("a", { href: profilePath(user.username), class: "me" }, avatar(user), el("bdi", {}, user.username));
  place.replaceChildren(link);
  return markCurrent();
}

function markCurrent() {
  for (const link of document.querySelectorAll("header nav a")) {
    if (new URL(link.href).pathname === location.pathname) link.setAttribute("aria-current", "page");
  }
}

/** The signing-in pages lead back to where the reader was. */
function leadBack() {
  const next = SIGNING_IN.includes(location.pathname)
    ? new URLSearchParams(location.search).get("next")
    : location.pathname + location.search;
  if (!next || next === "/") return;
  for (const link of document.querySelectorAll("[data-sign-in]")) {
    link.search = `?next=${encodeURIComponent(next)}`;
  }
}

/** The header shows this user from now on. */
export function showSignedIn(user) {
  remember(user);
  showUser();
}

async function start() {
  const begun = token();
  showUser();
  leadBack();
  markCurrent();
  const note = takeNote();
  if (note) {
    say(note);
    // Where somebody was sent, they are told why for as long as they stay.
    document.querySelector("[data-note]")?.replaceChildren(note);
  }
  addEventListener("conduit:signed-out", () => {
    showUser();
    say("Your session has ended. Sign in again to go on as yourself.");
  });
  // Signing in or out elsewhere shows here too: in another tab, or on the page that the browser kept for Back.
  addEventListener("storage", (event) => {
    if (event.key !== "conduit.token" && event.key !== "conduit.user") return;
    document.documentElement.dataset.session = token() ? "in" : "out";
    showUser();
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted && token() !== begun) location.reload();
  });
  if (token() && !knownUser()) {
    try {
      showSignedIn((await get("/api/user", { mine: true })).user);
    } catch {
      // The header does without a name; whatever else the page asks says what is wrong.
    }
  }
}

// What went wrong --------------------------------------------------------------------------------------------

const LABELS = { tagList: "Tags", token: "The session", credentials: "E-mail or password", body: "" };

/** An API error as sentences: {"email": ["is invalid"]} is "Email is invalid." */
export function sentences(errors) {
  return Object.entries(errors).flatMap(([field, texts]) =>
    texts.map((text) => sentence(LABELS[field] ?? field, text)),
  );
}

export function sentence(subject, text) {
  const words = `${subject} ${text}`.trim();
  return words.charAt(0).toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".");
}

function reason(problem) {
  switch (problem.kind) {
    case "timeout":
      return "The server took too long to answer.";
    case "network":
      return navigator.onLine === false ? "You seem to be offline." : "The server can’t be reached.";
    case "unavailable":
      return "The server is too busy, or can’t reach its database just now.";
    case "too-slow":
      return "What you sent took too long to arrive: the connection may be slow.";
    case "too-many":
      return "That was too often in a short time.";
    case "forbidden":
      return "It is somebody else’s, so only they can do that.";
    case "missing":
      return "It is no longer there: it may have been deleted meanwhile.";
    case "signed-out":
      return "You are not signed in any more.";
    case "failed":
      return `Something went wrong on the server.${problem.request && ` Its log knows this as ${problem.request}.`}`;
    default:
      return sentences(problem.errors).join(" ") || "The server refused it without a reason.";
  }
}

/** Take away what was said to be wrong in `place`. Focus that was in it goes to `heir`, where one is given. */
export function removeProblems(place, heir) {
  const boxes = [...place.querySelectorAll(":scope > .problem")];
  const held = boxes.some((box) => box.contains(document.activeElement));
  boxes.forEach((box) => box.remove());
  if (held) heir?.focus();
}

const WORTH_RETRYING = ["timeout", "network", "unavailable", "too-slow", "too-many", "failed", "signed-out"];

/**
 * A box that says what did not work and why, read out at once. With `retry` it has a button "Try again", which
 * waits as long as the server asked. `more` are further nodes for it.
 */
export function problemBox(problem, what, { retry, more = [] } = {}) {
  const box = el(
    "div",
    { class: "problem", role: "alert" },
    el("p", {}, el("strong", {}, what), " ", reason(problem)),
    more,
  );
  const again = retry && WORTH_RETRYING.includes(problem.kind);
  const button =
    again && el("button", { type: "button", class: "button", onclick: () => !isBusy(button) && retry() }, "Try again");
  if (problem.wait > 2) box.append(countdown(problem.wait, button));
  if (button) box.append(button);
  return box;
}

/** Seconds that tick for the eye and are read out once; a button waits for their end. */
function countdown(seconds, button) {
  const ticking = el("span", { "aria-hidden": "true" });
  const line = el(
    "p",
    { class: "wait" },
    el("span", { class: "unseen" }, `You can try again in ${seconds} seconds.`),
    ticking,
  );
  const end = Date.now() + seconds * 1000;
  if (button) setBusy(button, true);
  const tick = () => {
    const left = Math.max(0, Math.ceil((end - Date.now()) / 1000));
    ticking.textContent = left > 0 ? `You can try again in ${left} s.` : "You can try again now.";
    if (left > 0) return setTimeout(tick, 250);
    return button && setBusy(button, false);
  };
  tick();
  return line;
}

// Buttons that work ------------------------------------------------------------------------------------------

// Not `disabled`: that would take the focus away from who pressed it by the keyboard.
export const isBusy = (button) => button.getAttribute("aria-disabled") === "true";

export function setBusy(button, busy) {
  if (busy) button.setAttribute("aria-disabled", "true");
  else button.removeAttribute("aria-disabled");
}

/** Run `work` with the button shown as working; pressed meanwhile, it does nothing. Raises what `work` raises. */
export async function whileBusy(button, work) {
  if (isBusy(button)) return;
  setBusy(button, true);
  button.classList.add("working");
  try {
    await work();
  } finally {
    setBusy(button, false);
    button.classList.remove("working");
  }
}

/**
 * A pressed button asks something of the API as the signed-in user; what goes wrong is said at the end of `place`, with
 * a way to try again. Nobody signed in, or no longer: to the sign-in page and back.
 */
export async function act(button, place, what, work) {
  if (!token()) return signInFirst("Sign in for that. You will come back here.");
  removeProblems(place, button);
  return whileBusy(button, async () => {
    try {
      await work();
    } catch (problem) {
      if (!problem.kind) throw problem;
      if (problem.kind === "signed-out") return signInFirst("Your session has ended. Sign in to go on where you were.");
      place.append(problemBox(problem, what, { retry: () => act(button, place, what, work) }));
    }
    return undefined;
  });
}

/**
 * Fill `place` with what `load` gives: its placeholder stays while that is on its way, and a problem is said in its
 * stead with a way to try again. With `beside`, what is in `place` stays, and the problem is said at the end of that.
 */
export async function fill(place, what, load, { beside = null } = {}) {
  place.setAttribute("aria-busy", "true");
  const slow = setTimeout(() => say("This takes longer than usual. Still waiting for the server."), 5000);
  try {
    await load();
    removeProblems(beside ?? place);
  } catch (problem) {
    if (!problem.kind) throw problem;
    if (problem.kind === "aborted") return;
    const box = problemBox(problem, what, {
      retry: () => {
        const again = box.querySelector("button");
        return whileBusy(again, () => keepingFocus(again, beside ?? place, () => fill(place, what, load, { beside })));
      },
    });
    if (beside) {
      removeProblems(beside);
      beside.append(box);
    } else {
      place.replaceChildren(box);
    }
  } finally {
    clearTimeout(slow);
    place.removeAttribute("aria-busy");
  }
}

/**
 * Do `work`, which takes the button `again` away. Whoever pressed it by the keyboard is not sent back to the page's top:
 * the focus goes to the button of the next problem in `place` or, where all is well, to the heading over `place`, unless
 * it was led elsewhere meanwhile.
 */
async function keepingFocus(again, place, work) {
  const held = document.activeElement === again;
  await work();
  if (!held || ![null, document.body].includes(document.activeElement)) return;
  const heading = place.closest("section, aside, main").querySelector("h1:not([data-for]), h2, h3");
  const next = place.querySelector(":scope > .problem > button") ?? heading;
  if (next === heading) heading.tabIndex = -1;
  next.focus();
}

/** Say in the place of a page's content that there is nothing, and lead on. */
export function nothingHere(main, title, text) {
  document.title = `${title} – Conduit`;
  main.replaceChildren(
    el(
      "div",
      { class: "empty page" },
      el("h1", {}, title),
      el("p", {}, text),
      el("p", {}, el("a", { class: "button", href: "/" }, "To all articles")),
    ),
  );
  main.focus();
}

start();
