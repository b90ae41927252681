// Calls to the API: each ends in its data or in a Problem, in bounded time.

import { forget, token } from "session";

const READING_SECONDS = 15;
const WRITING_SECONDS = 30;
const UPLOAD_SECONDS = 180;

/**
 * What went wrong with a call. `kind` is one of: invalid (409 and 422, `errors` says what by field), signed-out (401),
 * forbidden (403), missing (404), too-slow (408: what was sent did not arrive in time, so that nothing was done with
 * it), too-large (413), too-many (429), unavailable (503), failed (any other answer), timeout, network, aborted. `wait` is how many seconds the server asked to wait; `request` its number for the call.
 */
export class Problem extends Error {
  constructor(kind, { errors = {}, wait = 0, request = "" } = {}) {
    super(kind);
    this.kind = kind;
    this.errors = errors;
    this.wait = wait;
    this.request = request;
  }

  /** Whether the server may have done what was asked, although no answer says so. */
  get uncertain() {
    return this.kind === "timeout" || this.kind === "network" || this.kind === "failed";
  }
}

const KINDS = {
  401: "signed-out",
  403: "forbidden",
  404: "missing",
  408: "too-slow",
  413: "too-large",
  409: "invalid", // taken: it belongs to a field as well
  422: "invalid",
  429: "too-many",
  503: "unavailable",
};

/**
 * The JSON that the API answers; null where it answers nothing. Throws a Problem.
 *
 * A reading call goes on as nobody's when the token is refused, because nearly all can be read without one; `mine` says
 * that this call can't. `signal` gives the call up.
 */
export async function call(method, path, { body, signal, mine = method !== "GET", seconds } = {}) {
  const response = await send(method, path, { body, signal, mine, seconds });
  return response.status === 204 ? null : response.content;
}

export const get = (path, options) => call("GET", path, options);

/** A file that the API gives to its owner alone, as a Blob. Throws a Problem. */
export async function download(path) {
  return (await send("GET", path, { mine: true, as: "blob" })).content;
}

async function send(method, path, options) {
  const { body, signal, mine, as = "json" } = options;
  const seconds = options.seconds ?? (method === "GET" ? READING_SECONDS : WRITING_SECONDS);
  const sent = token();
  const headers = {};
  if (sent) headers.Authorization = `Token ${sent}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const stop = new AbortController();
  const late = setTimeout(() => stop.abort(new Problem("timeout")), seconds * 1000);
  const giveUp = () => stop.abort(new Problem("aborted"));
  if (signal?.aborted) giveUp();
  signal?.addEventListener("abort", giveUp);
  let response;
  let content;
  try {
    const text = body === undefined ? undefined : JSON.stringify(body);
    response = await fetch(path, { method, headers, body: text, signal: stop.signal, cache: "no-store" });
    // The time runs until the whole answer is here: a body may stall as well as a head.
    content = response.ok && as === "blob" ? await response.blob() : parsed(await response.text());
  } catch {
    throw stop.signal.aborted ? stop.signal.reason : new Problem("network");
  } finally {
    clearTimeout(late);
    signal?.removeEventListener("abort", giveUp);
  }
  if (response.ok) {
    if (content === undefined && response.status !== 204) throw new Problem("failed");
    return { status: response.status, content };
  }
  const problem = problemOf(response.status, content, (name) => response.headers.get(name));
  if (problem.kind === "signed-out" && sent) {
    endSession(sent);
    if (!mine) return send(method, path, { ...options, mine: true });
  }
  throw problem;
}

/** Put a file at `path`, telling `progress` of the share sent, 0 to 1. Answers as `call`. */
export function upload(path, file, progress) {
  return new Promise((resolve, reject) => {
    // fetch can't tell how far an upload has come.
    const request = new XMLHttpRequest();
    const sent = token();
    request.open("PUT", path);
    request.timeout = UPLOAD_SECONDS * 1000;
    if (sent) request.setRequestHeader("Authorization", `Token ${sent}`);
    request.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    request.addEventListener("load", () => {
      const content = parsed(request.responseText);
      if (request.status >= 200 && request.status < 300 && content) return resolve(content);
      const problem = problemOf(request.status, content, (name) => request.getResponseHeader(name));
      if (problem.kind === "signed-out" && sent) endSession(sent);
      return reject(problem);
    });
    request.addEventListener("timeout", () => reject(new Problem("timeout")));
    request.addEventListener("error", () => reject(new Problem("network")));
    request.send(file);
  });
}

function problemOf(status, content, header) {
  const asked = header("Retry-After") ?? "";
  const wait = /^\d+$/.test(asked)
    ? Number(asked)
    : Math.max(0, Math.ceil((Date.parse(asked) - Date.now()) / 1000)) || 0;
  return new Problem(KINDS[status] ?? "failed", {
    errors: content?.errors ?? {},
    wait,
    request: header("X-Request-Id") ?? "",
  });
}

/** The session ends with the token that was refused; another tab may have a newer one by now. */
function endSession(refused) {
  if (token() !== refused) return;
  forget();
  dispatchEvent(new Event("conduit:signed-out"));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
