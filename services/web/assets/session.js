// Who is signed in, in this browser; and the way to the sign-in page and back.

const TOKEN = "conduit.token";
const USER = "conduit.user";
const NOTE = "conduit.note";

export const token = () => read(localStorage, TOKEN);

/** What the header shows of the signed-in user, {username, image}; null where it is not known yet, or nobody is. */
export function knownUser() {
  try {
    return token() && JSON.parse(read(localStorage, USER));
  } catch {
    return null;
  }
}

/** Keep a user as the API gives it: at signing in and up, and after a change. */
export function remember(user) {
  write(localStorage, TOKEN, user.token);
  write(localStorage, USER, JSON.stringify({ username: user.username, image: user.image }));
  document.documentElement.dataset.session = "in";
}

/** Nobody is signed in from now on. */
export function forget() {
  write(localStorage, TOKEN, null);
  write(localStorage, USER, null);
  document.documentElement.dataset.session = "out";
}

/** Go to the sign-in page with a word on why, and come back here afterwards. */
export function signInFirst(why) {
  leaveNote(why);
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/** Where to go after signing in: an address of this site, whatever the address says. */
export function afterSigningIn() {
  const next = new URLSearchParams(location.search).get("next");
  if (!next) return "/";
  try {
    const url = new URL(next, location.origin);
    // By the address as parsed: it comes from anybody's link. And whole: "/.//elsewhere.example" is of this origin, but
    // its path alone, "//elsewhere.example", names another.
    const here = url.origin === location.origin && /^\/(?!\/)/.test(url.pathname);
    return here && !["/login", "/register"].includes(url.pathname) ? url.href : "/";
  } catch {
    return "/";
  }
}

/** A sentence for the next page to show. */
export const leaveNote = (text) => write(sessionStorage, NOTE, text);

/** The sentence that the page before left; once. */
export function takeNote() {
  const text = read(sessionStorage, NOTE);
  write(sessionStorage, NOTE, null);
  return text;
}

// A browser may refuse storage altogether; the pages are then for reading only, and work.

export function read(storage, key) {
  try {
    return storage.getItem(key);
  } catch {
    return null;
  }
}

export function write(storage, key, value) {
  try {
    if (value === null) storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // As said above.
  }
}
