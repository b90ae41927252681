// What the edge computes that NGINX's own variables do not give: an answer's age, a query in one order, and the mark
// that keeps what was asked for before an article changed from being shown after it.

const marks = ngx.shared.marks;

// Seconds since the origin made the answer (RFC 9111, 4.2.3); nothing where no cache was asked.
function age(r) {
  const made = Date.parse(r.variables.upstream_http_date);
  return made ? String(Math.max(0, Math.floor((Date.now() - made) / 1000))) : "";
}

// The query with its parameters in the order of their names, those of one name as they came. One that writes a name in
// an unusual way is left as it is: what the app takes for the same name is not the same here.
function query(r) {
  const parts = r.variables.args.split("&").map((text, place) => ({ text, place, name: text.split("=", 1)[0] }));
  if (!parts.every((part) => /^[A-Za-z0-9_]+$/.test(part.name))) return r.variables.args;
  parts.sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.place - b.place));
  return parts.map((part) => part.text).join("&");
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

export default { age, query, mark, purge };
