// What the edge computes that NGINX's own variables do not give: an answer's age, a query in one order, and the mark
// that keeps what was asked for before an article changed from being shown after it.

const marks = ngx.shared.marks;
const trouble = ngx.shared.trouble;

// After an origin that did not answer in time is left alone, one reader tries it for so long; and how long an address that
// is slow by itself is known to be so.
const LEFT_ALONE_MS = 2000;
const TRIED_MS = 1000;
const SLOW_MS = 10000;
// What a question has in @held, before it is given up.
const LITTLE_PATIENCE_MS = 500;

// Seconds since the origin made the answer (RFC 9111, 4.2.3); nothing where no cache was asked.
function age(r) {
  const made = Date.parse(r.variables.upstream_http_date);
  return made ? String(Math.max(0, Math.floor((Date.now() - made) / 1000))) : "";
}

// The query as the app understands it, in the order of the names: without parameters that it does not know or that have
// no value, and of those of one name the last. Any other way to write it would be another answer to keep.
function query(r) {
  const known = r.variables.parameters.split(" ");
  const given = {};
  r.variables.args.split("&").forEach((text) => {
    const name = named(text.split("=", 1)[0]);
    const value = text.slice(text.indexOf("=") + 1);
    if (known.includes(name) && text.includes("=") && value) given[name] = text;
  });
  return Object.keys(given).sort().map((name) => given[name]).join("&");
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

// How long a reader waits for a new answer: "none" while the origin is left alone, "little" where there is an older answer
// to show, else "".
function patience(r) {
  if (r.variables.held !== "1") return "";
  const until = Number(trouble.get("until") || 0);
  if (until > Date.now()) return "none";
  if (until) trouble.set("until", String(Date.now() + TRIED_MS)); // the others see no more of it than before
  return Number(trouble.get(r.variables.request_uri) || 0) > Date.now() ? "" : "little";
}

// The origin answers.
function answered(r) {
  const status = r.variables.upstream_status;
  if (!status || status.endsWith("504")) return; // somebody else's answer, or the balancer's that the apps hang
  trouble.delete("until");
  trouble.set("answered", String(Date.now()));
}

// It did not in time. Where others were answered meanwhile, it is this question that takes long; next time it may. Either
// way the older answer is shown now.
function hung(r) {
  const alone = Number(trouble.get("answered") || 0) < Date.now() - LITTLE_PATIENCE_MS;
  if (alone) trouble.set("until", String(Date.now() + LEFT_ALONE_MS));
  else trouble.set(r.variables.request_uri, String(Date.now() + SLOW_MS));
  r.return(504);
}

export default { age, query, mark, purge, patience, answered, hung };
