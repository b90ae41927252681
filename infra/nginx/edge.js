// What the edge computes that NGINX's own variables do not give: an answer's age, a query in one order, and the mark
// that keeps what was asked for before an article changed from being shown after it.

const marks = ngx.shared.marks;
const trouble = ngx.shared.trouble;

// All parameters of the API's reads.
const KNOWN = ["author", "before", "favorited", "limit", "offset", "tag"];
// How long the origin is left alone after it did not answer in time.
const LEFT_ALONE_MS = 2000;

// Seconds since the origin made the answer (RFC 9111, 4.2.3); nothing where no cache was asked.
function age(r) {
  const made = Date.parse(r.variables.upstream_http_date);
  return made ? String(Math.max(0, Math.floor((Date.now() - made) / 1000))) : "";
}

// The query without parameters that the app does not know, which would make one answer many, and in the order of their
// names; those of one name as they came, for the last counts.
function query(r) {
  const parts = r.variables.args.split("&").map((text, place) => ({ text, place, name: named(text.split("=", 1)[0]) }));
  const known = parts.filter((part) => KNOWN.includes(part.name));
  known.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.place - b.place));
  return known.map((part) => part.text).join("&");
}

// A parameter's name as the app reads it.
function named(text) {
  try {
    return decodeURIComponent(text.replace(/\+/g, " "));
  } catch (error) {
    return "";  // no UTF-8
  }
}

// Part of the key of everything about an article; empty where it has not changed for as long as anything is kept.
function mark(r) {
  return marks.get(r.variables.article) || "";
}

// A new mark first, so that an answer that is on its way is kept under a key that nobody asks for any more; then the
// article as it is kept goes, which is what would be shown if the marks were lost and the origin were down.
async function purge(r) {
  const article = r.variables.article;
  const before = marks.get(article) || "";
  marks.set(article, String(Math.max(Number(before) + 1, Date.now())));
  await r.subrequest("/kept", { args: `article=${article}&mark=${before}` });
  r.return(204);
}

// "1" where the origin did not answer just now.
function hangs(r) {
  return Number(trouble.get("until") || 0) > Date.now() ? "1" : "";
}

// Remember that, and say so: then what is kept is shown.
function hung(r) {
  trouble.set("until", String(Date.now() + LEFT_ALONE_MS));
  r.return(504);
}

export default { age, query, mark, purge, hangs, hung };
