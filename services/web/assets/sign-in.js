// Signing in, and back to where the reader was.

import { call } from "api";
import { sending } from "forms";
import { showSignedIn } from "frame";
import { afterSigningIn, token } from "session";

const form = document.querySelector("form");

if (token()) location.replace(afterSigningIn());

sending(form, {
  what: () => "You are not signed in.",
  signedIn: false,
  send: async () => {
    const { email, password } = form.elements;
    try {
      const { user } = await call("POST", "/api/users/login", {
        body: { user: { email: email.value, password: password.value } },
      });
      showSignedIn(user);
      location.assign(afterSigningIn());
    } catch (problem) {
      // Here it does not mean that a session has ended.
      if (problem.kind !== "signed-out") throw problem;
      problem.kind = "invalid";
      problem.errors = { body: ["no account has this e-mail address and this password"] };
      throw problem;
    }
  },
});
