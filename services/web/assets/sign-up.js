// Signing up; who has is signed in.

import { call } from "api";
import { sending } from "forms";
import { showSignedIn } from "frame";
import { afterSigningIn, leaveNote, token } from "session";

const form = document.querySelector("form");

if (token()) location.replace(afterSigningIn());

sending(form, {
  what: () => "Your account was not made.",
  signedIn: false,
  send: async () => {
    const { username, email, password } = form.elements;
    const body = { user: { username: username.value, email: email.value, password: password.value } };
    const { user } = await call("POST", "/api/users", { body });
    showSignedIn(user);
    leaveNote(`Welcome, ${user.username}.`);
    location.assign(afterSigningIn());
  },
});
