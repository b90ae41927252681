// Building a page from data: nodes, never strings of HTML, so that what people write stays text.

/**
 * A new element. `attributes` are attributes; `on…` ones are listeners, false, null and undefined leave one out, and
 * true sets it empty. `children` are nodes or texts; false, null and undefined are left out.
 */
export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  // One by one: an article of a hundred thousand lines is more than a call takes arguments. And before the attributes:
  // at every child that comes into it, dir="auto" has Chromium look through all that are there.
  for (const child of children.flat()) if (child !== false && child !== null && child !== undefined) node.append(child);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  return node;
}

const SVG = "http://www.w3.org/2000/svg";
const DRAWINGS = {
  heart: "M12 20.3S3.6 15.4 3.6 9.4A4.6 4.6 0 0 1 12 6.8a4.6 4.6 0 0 1 8.4 2.6c0 6-8.4 10.9-8.4 10.9Z",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.5 9.5h.01",
  close: "M6 6l12 12M18 6 6 18",
};

/** A drawing that says nothing to a screen reader: what it stands for is said in words beside it. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", `icon ${name}`);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", DRAWINGS[name]);
  svg.append(path);
  return svg;
}

/** "1 comment", "12 comments". */
export function counted(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

const DAY = new Intl.DateTimeFormat("en", { day: "numeric", month: "short", year: "numeric" });
const MOMENT = new Intl.DateTimeFormat("en", { dateStyle: "long", timeStyle: "short" });

/** An API time as a day, with the exact time as its title. */
export function day(time) {
  const date = new Date(time);
  return el("time", { datetime: time, title: MOMENT.format(date) }, DAY.format(date));
}

/** A number of 0 to 359 that a text always gives: a hue of its own for who or what has no picture. */
export function hue(text) {
  let hash = 2166136261;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0), 16777619);
  return (hash >>> 0) % 360;
}

/** The first letter of a text as its readers count letters. */
export function initial(text) {
  const trimmed = text.trim();
  const first = new Intl.Segmenter().segment(trimmed)[Symbol.iterator]().next();
  return first.done ? "?" : first.value.segment.toLocaleUpperCase();
}

export const profilePath = (username) => `/profile/${encodeURIComponent(username)}`;
export const articlePath = (slug) => `/article/${encodeURIComponent(slug)}`;

/** Someone's picture, or their initial. Only pictures of this site are loaded: others would tell theirs who reads. */
export function avatar(person, kind = "") {
  const frame = el("span", { class: `avatar ${kind}`, "aria-hidden": "true" }, initial(person.username));
  frame.style.setProperty("--hue", hue(person.username));
  if (person.image && isOurs(person.image)) {
    const picture = el("img", { src: person.image, alt: "", loading: "lazy", decoding: "async" });
    picture.addEventListener("error", () => picture.remove());
    frame.append(picture);
  }
  return frame;
}

function isOurs(address) {
  try {
    const url = new URL(address, location.origin);
    return url.origin === location.origin || address.startsWith("data:image/");
  } catch {
    return false;
  }
}

let clearing;

/** Say something in passing: shown for some seconds at the foot of the page, and read out. */
export function say(text) {
  const status = document.getElementById("status");
  status.textContent = "";
  clearTimeout(clearing);
  // Set a moment later, so that the same words said twice are read out twice.
  setTimeout(() => (status.textContent = text), 50);
  clearing = setTimeout(() => (status.textContent = ""), 7000);
}

/** Wait for so many seconds. */
export const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
