// Articles are written in a part of Markdown: headings, paragraphs, lists, quotes, code, rules, emphasis and links. A
// line ends where two spaces or a backslash end it.
// It becomes nodes, never a string of HTML, so whatever else is written stays as it was written.

import { el } from "dom";

const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6})(?=\s)/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])\s+/;
const BLANK = /^\s*$/;
// A quote or list in a quote in a list … is read to this depth; deeper, it is text.
const MAX_DEPTH = 6;

/** The blocks of a text as a fragment, whose headings stand under the page's own title. */
export function markdown(text) {
  const fragment = document.createDocumentFragment();
  for (const block of blocks(text.replace(/\r\n?/g, "\n").split("\n"), 0)) fragment.append(block);
  levelHeadings(fragment);
  return fragment;
}

/** Headings come at most one level under the one before, whatever they are written with, and begin at the second. */
function levelHeadings(fragment) {
  const above = [];
  for (const heading of fragment.querySelectorAll("[data-level]")) {
    const level = Number(heading.dataset.level);
    while (above.length && above.at(-1) >= level) above.pop();
    above.push(level);
    heading.replaceWith(el(`h${Math.min(6, above.length + 1)}`, { dir: "auto" }, [...heading.childNodes]));
  }
}

function blocks(lines, depth) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const fence = FENCE.exec(line);
    const heading = HEADING.exec(line);
    if (BLANK.test(line)) {
      at += 1;
    } else if (fence) {
      const stop = endOf(lines, at + 1, (other) => !closes(other, fence[1]));
      made.push(el("pre", { tabindex: "0" }, el("code", {}, lines.slice(at + 1, stop).join("\n"))));
      at = stop + 1;
    } else if (heading) {
      made.push(el("h6", { "data-level": heading[1].length }, inline(headingText(line.slice(heading[0].length)))));
      at += 1;
    } else if (RULE.test(line)) {
      made.push(el("hr"));
      at += 1;
    } else if (depth < MAX_DEPTH && QUOTE.test(line)) {
      const stop = endOf(lines, at, (other) => QUOTE.test(other));
      made.push(
        el(
          "blockquote",
          {},
          blocks(
            lines.slice(at, stop).map((other) => other.replace(QUOTE, "")),
            depth + 1,
          ),
        ),
      );
      at = stop;
    } else if (depth < MAX_DEPTH && ITEM.test(line)) {
      const stop = endOfList(lines, at);
      made.push(list(lines.slice(at, stop), depth));
      at = stop;
    } else {
      const stop = endOf(lines, at, (other, number) => !BLANK.test(other) && (number === at || !startsBlock(other)));
      made.push(
        el(
          "p",
          { dir: "auto" },
          inline(
            lines
              .slice(at, stop)
              .map((other) => other.trimStart())
              .join("\n"),
          ),
        ),
      );
      at = stop;
    }
  }
  return made;
}

/** A heading may be closed as it was opened. Taken off by hand: a pattern would look at long lines again and again. */
function headingText(text) {
  const trimmed = text.trim();
  let end = trimmed.length;
  while (trimmed[end - 1] === "#") end -= 1;
  return end === 0 || trimmed[end - 1] === " " ? trimmed.slice(0, end).trimEnd() : trimmed;
}

/** Whether a line is a fence at least as long as the one that opened, and nothing else. */
const closes = (line, fence) => line.trim().startsWith(fence) && new Set(line.trim()).size === 1;

const startsBlock = (line) =>
  FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line) || ITEM.test(line);

function endOf(lines, from, belongs) {
  let at = from;
  while (at < lines.length && belongs(lines[at], at)) at += 1;
  return at;
}

/** A list goes on over indented lines, and over a blank line that an item or an indented line follows. */
function endOfList(lines, from) {
  const ordered = /\d/.test(ITEM.exec(lines[from])[2]);
  let at = from + 1;
  while (at < lines.length) {
    const ahead = BLANK.test(lines[at]) ? at + 1 : at;
    if (ahead >= lines.length || BLANK.test(lines[ahead])) break;
    const item = ITEM.exec(lines[ahead]);
    const goesOn = item
      ? !RULE.test(lines[ahead]) && /\d/.test(item[2]) === ordered
      : /^ {2,}/.test(lines[ahead]) || (ahead === at && !startsBlock(lines[ahead]));
    if (!goesOn) break;
    at = ahead + 1;
  }
  return at;
}

function list(lines, depth) {
  const first = ITEM.exec(lines[0]);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    // An item further in belongs to the item before it.
    if (item && item[1].length < 2) items.push([line.slice(item[0].length)]);
    else items.at(-1)?.push(line.replace(/^ {1,4}/, ""));
  }
  const number = /^\d+/.exec(first[2])?.[0];
  const nodes = items.map((item) => {
    const inside = blocks(item, depth + 1);
    // One paragraph is the item's text; more are paragraphs of it.
    const tight = inside.filter((node) => node.tagName === "P").length === 1 && inside[0].tagName === "P";
    return el("li", { dir: "auto" }, tight ? [...inside[0].childNodes, ...inside.slice(1)] : inside);
  });
  return number === undefined ? el("ul", {}, nodes) : el("ol", { start: number === "1" ? null : number }, nodes);
}

// Within a line ----------------------------------------------------------------------------------------------

// Each way to write something, in the order in which they are looked for: nothing within code means anything. None can
// match the same text in two ways, and none looks further than some hundred letters, so that time grows with the text.
const INLINE = new RegExp(
  [
    String.raw`\\(?<escaped>[\\\x60*_[\]()#+\-.!>~])`,
    String.raw`(?<!\x60)(?<ticks>\x60+)(?<code>[^\x60]{1,2000})\k<ticks>(?!\x60)`,
    String.raw`!?\[(?<label>[^[\]\n]{1,500})\]\((?<target>[^\s()]{1,2000})\)`,
    String.raw`(?<bare>https?:\/\/[^\s<>"'\x60]{1,2000})`,
    String.raw`(?<strong>\*\*|__)(?=\S)(?<bold>(?:(?!\k<strong>(?!\*))[^\n]){1,500})(?<=\S)\k<strong>`,
    String.raw`(?<![\p{L}\p{N}])(?<em>[*_])(?=\S)(?<slanted>(?:(?!\k<em>)[^\n]){1,500})(?<=\S)\k<em>(?![\p{L}\p{N}])`,
    String.raw`~~(?=\S)(?<gone>[^~\n]{1,500})(?<=\S)~~`,
    String.raw`(?<end>(?: {2,20}|\\)\n)`,
  ].join("|"),
  "gu",
);

function inline(text) {
  const made = [];
  let at = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > at) made.push(text.slice(at, match.index));
    for (const part of [nodeOf(match.groups, match[0])].flat()) made.push(part);
    at = match.index + match[0].length;
  }
  if (at < text.length) made.push(text.slice(at));
  return made;
}

function nodeOf(found, written) {
  if (found.escaped) return found.escaped;
  if (found.code !== undefined) return el("code", {}, found.code);
  if (found.label !== undefined) return link(found.target, found.label) ?? written;
  if (found.bare) {
    const address = found.bare.replace(/[.,;:!?)]+$/, "");
    return [link(address, address) ?? address, found.bare.slice(address.length)];
  }
  if (found.bold !== undefined) return el("strong", {}, inline(found.bold));
  if (found.slanted !== undefined) return el("em", {}, inline(found.slanted));
  if (found.gone !== undefined) return el("del", {}, inline(found.gone));
  return el("br");
}

/** A link to a page or a mail address; null for anything else, script addresses among them. */
function link(target, label) {
  let url;
  try {
    url = new URL(target, location.origin);
  } catch {
    return null;
  }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  const outside = url.origin !== location.origin;
  return el("a", { href: url.href, rel: outside ? "nofollow ugc noopener" : null }, label);
}
