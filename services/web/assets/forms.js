// Forms: one send at a time, what the API refuses at its field, and what was typed kept until it has arrived.

import { el } from "dom";
import { act, problemBox, removeProblems, sentence, whileBusy } from "frame";
import { read, signInFirst, token, write } from "session";

/** The field's message, or none: beside it, named by it, read out. */
export function fieldError(input, text) {
  const id = `${input.id}-error`;
  document.getElementById(id)?.remove();
  const others = (input.getAttribute("aria-describedby") ?? "").split(" ").filter((one) => one && one !== id);
  if (text) {
    input.closest(".field").append(el("p", { id, class: "field-error", role: "alert" }, text));
    input.setAttribute("aria-invalid", "true");
    others.push(id);
  } else {
    input.removeAttribute("aria-invalid");
  }
  if (others.length) input.setAttribute("aria-describedby", others.join(" "));
  else input.removeAttribute("aria-describedby");
}

const labelOf = (input) => input.labels[0].dataset.name ?? input.labels[0].textContent.trim();

/**
 * Let `form` be sent by `send()`, which talks to the API. A 422 goes to the fields: `fields` maps the API's names to
 * those of inputs. Anything else is said at the button, what `what()` gives first, with a way to try again, and with
 * `uncertain` where it may have been done although no answer came. `signedIn` leads to the sign-in page and back where
 * nobody is.
 */
export function sending(form, { send, fields = {}, what, uncertain, signedIn = true }) {
  const button = form.querySelector("button[type=submit], button:not([type])");
  const inputs = [...form.elements].filter((input) => input.id && input.labels?.length);
  form.noValidate = true; // The API says what is wrong, in one place and one wording.

  const clear = () => {
    removeProblems(form, button);
    inputs.forEach((input) => fieldError(input, null));
  };
  // What was said of a field is no longer true of what is typed now.
  inputs.forEach((input) => input.addEventListener("input", () => fieldError(input, null)));

  const refused = (problem) => {
    const beside = new Map();
    const above = {};
    for (const [field, texts] of Object.entries(problem.errors)) {
      const input =
        problem.kind === "invalid" || problem.kind === "too-large" ? form.elements[fields[field] ?? field] : null;
      if (input instanceof HTMLElement && inputs.includes(input)) beside.set(input, texts);
      else above[field] = texts;
    }
    for (const [input, texts] of beside)
      fieldError(input, texts.map((text) => sentence(labelOf(input), text)).join(" "));
    if (beside.size === 0 || Object.keys(above).length > 0) {
      problem.errors = above;
      const more = problem.uncertain && uncertain ? el("p", {}, uncertain) : [];
      // By the button, where whoever pressed it looks.
      button.before(problemBox(problem, what(), { retry: submit, more }));
    }
    inputs.find((input) => beside.has(input))?.focus();
  };

  const submit = () =>
    whileBusy(button, async () => {
      clear();
      if (signedIn && !token()) return signInFirst("Sign in first. What you typed is kept.");
      form.setAttribute("aria-busy", "true");
      try {
        await send();
      } catch (problem) {
        if (!problem.kind) throw problem;
        if (signedIn && problem.kind === "signed-out")
          return signInFirst("Your session has ended. Sign in to go on; what you typed is kept.");
        refused(problem);
      } finally {
        form.removeAttribute("aria-busy");
      }
      return undefined;
    });

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}

// Drafts -----------------------------------------------------------------------------------------------------

const DRAFT = "conduit.draft:";

/**
 * What is typed into a form, kept for this tab until `drop()`: over a reload, a lost session, a page left by mistake.
 * `gather()` gives it as data and `restore(data)` puts it back; `restored` says that something was. It is kept under the
 * page's address, and goes along where that changes meanwhile: an article that is published is no draft of the next.
 */
export function draftOf(form, { gather, restore }) {
  let key = DRAFT + location.pathname;
  const put = (text) => {
    const now = DRAFT + location.pathname;
    if (now !== key) write(sessionStorage, key, null);
    key = now;
    write(sessionStorage, key, text);
  };
  let dropped = false;
  let waiting;
  const keep = () => {
    clearTimeout(waiting);
    waiting = undefined;
    const data = gather();
    const nothing = Object.values(data).every((value) => value === null || value.length === 0);
    if (!dropped) put(nothing ? null : JSON.stringify(data));
  };
  form.addEventListener("input", () => {
    dropped = false;
    clearTimeout(waiting);
    waiting = setTimeout(keep, 200);
  });
  // Only what was changed and not written down yet: a page that is merely left has no draft.
  addEventListener("pagehide", () => waiting && keep());
  let restored = false;
  try {
    const kept = JSON.parse(read(sessionStorage, key));
    if (kept) {
      restore(kept);
      restored = true;
    }
  } catch {
    // A draft that can't be read is none.
  }
  return {
    restored,
    keep,
    drop() {
      dropped = true;
      clearTimeout(waiting);
      waiting = undefined;
      put(null);
    },
  };
}

/** Nothing that was typed is left for who uses this browser next. */
export function dropAllDrafts() {
  for (const key of Object.keys(sessionStorage)) if (key.startsWith(DRAFT)) write(sessionStorage, key, null);
}

// Asking twice -----------------------------------------------------------------------------------------------

/** Ask whether something is meant that can't be undone, then do `work` as `act` does. */
export function askFirst(button, place, { question, yes, what, work }) {
  button.addEventListener("click", () => {
    const go = el("button", { type: "button", class: "button bad", value: "yes" }, yes);
    const stay = el("button", { type: "button", class: "button quiet" }, "Cancel");
    const dialog = el(
      "dialog",
      { "aria-label": question },
      el("p", {}, question),
      el("div", { class: "actions" }, stay, go),
    );
    document.body.append(dialog);
    dialog.addEventListener("close", () => dialog.remove());
    stay.addEventListener("click", () => dialog.close());
    go.addEventListener("click", () => {
      dialog.close();
      act(button, place, what, work);
    });
    dialog.showModal();
  });
}
