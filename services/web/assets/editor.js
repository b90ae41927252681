// Writing an article and changing it, with its cover.

import { Problem, call, get, upload } from "api";
import { articlePath, el, icon, say } from "dom";
import { draftOf, fieldError, sending } from "forms";
import { fill, nothingHere, sentence } from "frame";
import { markdown } from "markdown";
import { knownUser, leaveNote, signInFirst, token } from "session";

// Publishing writes to the followers too, and a cover is resized, both perhaps before the answer comes.
const PUBLISHING_SECONDS = 120;
const MAX_COVER_BYTES = 5_000_000;
const MAX_COVER_PIXELS = 24_000_000;
const TEXTS = ["title", "description", "body"];
const main = document.getElementById("main");
const form = main.querySelector("form");
const heading = main.querySelector("h1");
const submit = form.querySelector("button[data-submit]");
const progress = form.querySelector("progress");
const published = main.querySelector("[data-published]");
const { title, description, body, tags: tagInput, cover: coverInput } = form.elements;
let article = null; // as the API last gave it; null until it is published

const slug = slugOf(location.pathname);

function slugOf(path) {
  const segment = path.split("/")[2];
  try {
    return segment ? decodeURIComponent(segment) : null;
  } catch {
    return segment;
  }
}

/** From now on the form changes this article instead of publishing one. */
function adopt(found) {
  article = found;
  document.title = `Edit: ${found.title} – Conduit`;
  heading.textContent = "Edit article";
  submit.textContent = "Save article";
  history.replaceState(null, "", `/editor/${encodeURIComponent(found.slug)}`);
}

function showTexts(texts) {
  for (const name of TEXTS) form.elements[name].value = texts[name] ?? "";
  chosen = [...(texts.tagList ?? [])];
  showTags();
}

// Tags -------------------------------------------------------------------------------------------------------

let chosen = [];
const chips = form.querySelector("[data-chips]");

function showTags() {
  chips.replaceChildren(
    ...chosen.map((tag) =>
      el(
        "li",
        { class: "tag", dir: "auto" },
        tag,
        el(
          "button",
          { type: "button", "aria-label": `Remove tag ${tag}`, onclick: () => removeTag(tag) },
          icon("close"),
        ),
      ),
    ),
  );
}

function removeTag(tag) {
  chosen = chosen.filter((other) => other !== tag);
  showTags();
  tagInput.focus();
  changedByHand();
}

/** What is typed becomes tags, at its commas. */
function takeTags() {
  const typed = tagInput.value
    .split(",")
    .map((tag) => tag.trim())
    .filter(Boolean);
  chosen = [...new Set([...chosen, ...typed])];
  tagInput.value = "";
  showTags();
}

tagInput.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if ((event.key === "Enter" || event.key === ",") && tagInput.value.trim()) {
    event.preventDefault();
    takeTags();
    changedByHand();
  } else if (event.key === "Enter") {
    event.preventDefault(); // It ends a tag here, never the article.
  } else if (event.key === "Backspace" && !tagInput.value && chosen.length) {
    removeTag(chosen.at(-1));
  }
});

const changedByHand = () => form.dispatchEvent(new Event("input"));

// The cover --------------------------------------------------------------------------------------------------

const preview = form.querySelector("[data-preview]");
const remove = form.querySelector("[data-remove-cover]");
let file = null; // chosen and good as far as can be told here
let removed = false; // the cover that the article has is to go
let looking = 0;

coverInput.addEventListener("change", async () => {
  const one = coverInput.files[0];
  const number = ++looking;
  file = null;
  fieldError(coverInput, null);
  if (!one) return showCover();
  const wrong = await wrongWith(one);
  if (number !== looking) return undefined; // another was chosen meanwhile
  if (wrong) {
    showCover();
    return fieldError(coverInput, sentence("Cover image", wrong));
  }
  file = one;
  removed = false;
  changedByHand();
  return showCover();
});

/** What the API would refuse and can be seen here, before megabytes are sent; null where nothing is. */
async function wrongWith(one) {
  if (one.size > MAX_COVER_BYTES) return `is larger than ${MAX_COVER_BYTES / 1_000_000} MB`;
  const start = new Uint8Array(await one.slice(0, 12).arrayBuffer());
  const text = String.fromCharCode(...start);
  const known =
    text.startsWith("\x89PNG\r\n\x1a\n") ||
    text.startsWith("\xff\xd8\xff") ||
    (text.startsWith("RIFF") && text.slice(8) === "WEBP");
  if (!known) return "is not a PNG, JPEG or WebP image";
  const { width, height } = await dimensions(one);
  return width * height > MAX_COVER_PIXELS ? `has more than ${MAX_COVER_PIXELS / 1_000_000} megapixels` : null;
}

/** The picture's width and height; 0 of what this browser can't read, which is for the API to judge. */
function dimensions(one) {
  return new Promise((resolve) => {
    const picture = new Image();
    const address = URL.createObjectURL(one);
    const done = () => {
      URL.revokeObjectURL(address);
      resolve({ width: picture.naturalWidth, height: picture.naturalHeight });
    };
    picture.addEventListener("load", done);
    picture.addEventListener("error", done);
    picture.src = address;
  });
}

let shownAddress = null;

function showCover() {
  if (shownAddress) URL.revokeObjectURL(shownAddress);
  shownAddress = file && URL.createObjectURL(file);
  const there = !file && !removed ? article?.cover : null;
  const source = shownAddress ?? there?.medium;
  const state = there?.state === "pending" ? "Cover is being prepared" : "This cover could not be made";
  preview.hidden = !file && !there;
  remove.hidden = preview.hidden;
  const picture = source
    ? el("img", { src: source, alt: file ? `Preview of ${file.name}` : "The article’s cover" })
    : el("span", { class: "cover-state" }, state);
  picture.addEventListener("error", () =>
    picture.replaceWith(el("span", { class: "cover-state" }, "No preview of this file")),
  );
  preview.replaceChildren(picture);
}

remove.addEventListener("click", () => {
  removed = Boolean(article?.cover);
  file = null;
  coverInput.value = "";
  fieldError(coverInput, null);
  showCover();
  coverInput.focus();
});

async function sendCover() {
  if (!file && !removed) return;
  const path = `/api/articles/${encodeURIComponent(article.slug)}/cover`;
  if (removed) {
    article = (await call("DELETE", path)).article;
    return;
  }
  progress.hidden = false;
  try {
    article = (await upload(path, file, (share) => (progress.value = share))).article;
  } catch (problem) {
    // Whatever is refused of this call is about the cover; `body` would be the article's text here.
    if (problem.kind === "too-large") problem.errors = { cover: [`is larger than ${MAX_COVER_BYTES / 1_000_000} MB`] };
    else if (problem.kind === "too-slow") {
      // The field says it, as it says all that is wrong with a file: here a smaller one helps, and another try may not.
      problem.kind = "invalid";
      problem.errors = { cover: ["took too long to arrive; try a smaller one or a better connection"] };
    } else if (problem.kind === "invalid") problem.errors = { cover: Object.values(problem.errors).flat() };
    throw problem;
  } finally {
    progress.hidden = true;
    progress.value = 0;
  }
}

// Sending ----------------------------------------------------------------------------------------------------

function begin() {
  const restoredNote = main.querySelector("[data-restored]");
  const saved = () => article ?? { title: "", description: "", body: "", tagList: [] };
  const draft = draftOf(form, {
    gather: () => ({
      title: title.value,
      description: description.value,
      body: body.value,
      tagList: chosen,
      typed: tagInput.value,
      cover: file?.name ?? null,
    }),
    restore: (kept) => {
      showTexts(kept);
      tagInput.value = kept.typed ?? "";
      if (kept.cover)
        form.querySelector("[data-choose-again]").textContent =
          `“${kept.cover}” has to be chosen again: files are not kept.`;
    },
  });
  restoredNote.hidden = !draft.restored;
  restoredNote.querySelector("button").addEventListener("click", () => {
    draft.drop();
    showTexts(saved());
    tagInput.value = "";
    restoredNote.hidden = true;
    title.focus();
  });
  showCover();

  sending(form, {
    what: () => (article ? "The article was not saved." : "The article was not published."),
    uncertain:
      "It may have arrived all the same. Look at your profile before you try once more: what you typed is kept.",
    fields: { tagList: "tags" },
    send: async () => {
      takeTags();
      const before = article;
      const wrong = coverInput.files[0] && !file && (await wrongWith(coverInput.files[0]));
      if (wrong) throw new Problem("invalid", { errors: { cover: [wrong] } });
      await sendTexts();
      // Kept by the API from here on: what may still fail is the cover.
      draft.drop();
      try {
        await sendCover();
      } catch (problem) {
        if (!before) sayPublished();
        throw problem;
      }
      leaveNote(before ? "Your changes are saved." : "Your article is published.");
      location.assign(articlePath(article.slug));
    },
  });
}

async function sendTexts() {
  const draft = { title: title.value, description: description.value, body: body.value, tagList: chosen };
  if (!article) {
    const answer = await call("POST", "/api/articles", { body: { article: draft }, seconds: PUBLISHING_SECONDS });
    return adopt(answer.article);
  }
  const changes = Object.fromEntries(
    Object.entries(draft).filter(([name, value]) => String(value) !== String(article[name])),
  );
  if (!Object.keys(changes).length) return undefined;
  const answer = await call("PUT", `/api/articles/${encodeURIComponent(article.slug)}`, { body: { article: changes } });
  return adopt(answer.article);
}

function sayPublished() {
  published.replaceChildren(
    "Your article is published, without its cover so far. ",
    el("a", { href: articlePath(article.slug) }, "See it"),
  );
  published.hidden = false;
  say("Your article is published, without its cover so far.");
}

// How it will look -------------------------------------------------------------------------------------------

const look = form.querySelector("[data-look]");
const looked = form.querySelector("[data-looked]");

look.addEventListener("click", () => {
  const showing = looked.hidden;
  looked.replaceChildren(...(showing ? [markdown(body.value)] : []));
  looked.hidden = !showing;
  body.hidden = showing;
  look.setAttribute("aria-expanded", String(showing));
  look.textContent = showing ? "Go on writing" : "Show how it will look";
  if (!showing) body.focus();
});

// Beginning --------------------------------------------------------------------------------------------------

if (!token()) signInFirst("Sign in to write.");
else if (slug === null) begin();
else {
  form.hidden = true;
  fill(main.querySelector("[data-loading]"), "The article could not be loaded.", async () => {
    try {
      const found = (await get(`/api/articles/${encodeURIComponent(slug)}`, { mine: true })).article;
      if (knownUser() && found.author.username !== knownUser().username) {
        return nothingHere(main, "This article is somebody else’s", `Only ${found.author.username} can change it.`);
      }
      main.querySelector("[data-loading]").replaceChildren();
      form.hidden = false;
      adopt(found);
      showTexts(found);
      return begin();
    } catch (problem) {
      if (problem.kind === "signed-out") return signInFirst("Your session has ended. Sign in to go on.");
      if (problem.kind === "missing")
        return nothingHere(main, "This article is not here", "It may have been deleted, or its address mistyped.");
      throw problem;
    }
  });
}
