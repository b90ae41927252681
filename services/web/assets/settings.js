// The signed-in user: what they say of themself, their report, signing out.

import { call, download, get } from "api";
import { el, pause, say } from "dom";
import { draftOf, dropAllDrafts, sending } from "forms";
import { act, fill, showSignedIn } from "frame";
import { forget, leaveNote, signInFirst, token } from "session";

const FIELDS = ["image", "username", "bio", "email"];
// A report is made in some seconds where it is not made at once.
const ASK_AGAIN_AFTER_SECONDS = [1, 2, 4, 8, 15, 30];
const why = "Sign in to change your settings.";
const form = document.querySelector("form");
const place = document.querySelector("[data-settings]");
let was = null;

if (!token()) signInFirst(why);
else {
  addEventListener("conduit:signed-out", () =>
    signInFirst("Your session has ended. Sign in to go on; what you typed is kept."),
  );
  fill(place, "Your settings could not be loaded.", async () => {
    const { user } = await get("/api/user", { mine: true });
    showSignedIn(user);
    place.replaceChildren();
    showForm(user);
  });
}

function showForm(user) {
  was = user;
  for (const name of FIELDS) form.elements[name].value = user[name] ?? "";
  const draft = draftOf(form, {
    gather: () => Object.fromEntries(FIELDS.map((name) => [name, form.elements[name].value])),
    restore: (kept) => FIELDS.forEach((name) => (form.elements[name].value = kept[name] ?? "")),
  });
  form.hidden = false;
  document.querySelector("[data-rest]").hidden = false;
  if (draft.restored) say("Your changes that were not saved are back.");
  sending(form, {
    what: () => "Your settings were not saved.",
    send: async () => {
      const changes = changed();
      if (!Object.keys(changes).length) return say("There is nothing to change.");
      const { user: now } = await call("PUT", "/api/user", { body: { user: changes } });
      was = now;
      draft.drop();
      showSignedIn(now);
      for (const name of FIELDS) form.elements[name].value = now[name] ?? "";
      form.elements.password.value = "";
      return say("Your settings are saved.");
    },
  });
}

/** Only what was changed is sent, so that nothing set elsewhere meanwhile is taken back. */
function changed() {
  const changes = {};
  for (const name of FIELDS)
    if (form.elements[name].value !== (was[name] ?? "")) changes[name] = form.elements[name].value;
  if (form.elements.password.value) changes.password = form.elements.password.value;
  return changes;
}

// The audience report ----------------------------------------------------------------------------------------

const report = document.querySelector("[data-report]");
const button = report.querySelector("button");
const state = report.querySelector("[role=status]");

button.addEventListener("click", () =>
  act(button, report, "The report could not be made.", async () => {
    state.textContent = "The report is being made…";
    try {
      const made = await whenMade((await call("POST", "/api/user/reports", { seconds: 120 })).report);
      if (made.state === "ready") {
        save(await download(made.url));
        state.textContent = "The report has been downloaded.";
      } else {
        state.textContent =
          made.state === "failed"
            ? "The report could not be made. Ask for it once more."
            : "The report takes longer than usual. Ask for it again in a while.";
      }
    } catch (problem) {
      state.textContent = "";
      throw problem;
    }
  }),
);

async function whenMade(asked) {
  let found = asked;
  for (const seconds of ASK_AGAIN_AFTER_SECONDS) {
    if (found.state !== "pending") break;
    await pause(seconds);
    try {
      found = (await get(`/api/user/reports/${found.id}`, { mine: true })).report;
    } catch (problem) {
      // A server that can't say how far it is goes on making it.
      if (!["unavailable", "network", "timeout"].includes(problem.kind)) throw problem;
    }
  }
  return found;
}

/** Save a file that took the token to fetch, which a plain link would not send. */
function save(blob) {
  const link = el("a", { href: URL.createObjectURL(blob), download: "audience.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Signing out ------------------------------------------------------------------------------------------------

document.querySelector("[data-sign-out]").addEventListener("click", () => {
  forget();
  dropAllDrafts();
  leaveNote("You are signed out.");
  location.assign("/");
});
