// Who asks: log-in and log-out, and orders that carry the token of the session.
"use strict";

let session = null; // as /api/v1/session gives it; null: not asked yet

class LoggedOut extends Error {}

async function readSession() {
  const answer = await fetch("/api/v1/session", { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.statusText);
  session = await answer.json();
}

async function ask(path, options) {
  const answer = await fetch(`/api/v1/${path}`, { cache: "no-store", ...options });
  const found = await answer.json();
  if (answer.status === 401 && path !== "session") {
    await readSession();
    throw new LoggedOut();
  }
  if (!answer.ok) throw new Error(found.error || answer.statusText);
  return found;
}

function get(path) {
  return ask(path, {});
}

function post(path, order) {
  const headers = { "Content-Type": "application/json", "X-Console-Token": session.token };
  return ask(path, { method: "POST", headers, body: JSON.stringify(order) });
}

function isOperator() {
  return session !== null && session.role === "operator";
}

// Announce what was done, for eyes and for a reader of the screen.
function say(text, kind = "") {
  const said = document.getElementById("said");
  said.className = kind;
  said.textContent = text;
}

// Give an order; show what came of it, and the page anew.
async function give(path, order, text) {
  try {
    const answer = await post(path, order);
    say(typeof text === "function" ? text(answer) : text);
    return answer;
  } catch (error) {
    if (!(error instanceof LoggedOut)) say(error.message, "bad");
    return null;
  } finally {
    show();
  }
}

function field(key, input) {
  return el("label", {}, el("span", {}, word(key)), input);
}

function logInPage() {
  const name = el("input", { name: "name", autocomplete: "username", required: "", maxlength: "63", "data-key": "name" });
  const password = el("input", {
    name: "password", type: "password", autocomplete: "current-password", required: "", maxlength: "256",
    "data-key": "password" });
  const problem = el("p", { class: "why", role: "alert" });
  const form = el("form", { class: "card log-in" }, el("h1", {}, word("log_in")), field("user", name),
    field("password", password), problem, el("button", { class: "main" }, word("log_in")));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      const order = { name: name.value, password: password.value };
      const headers = { "Content-Type": "application/json" };
      session = await ask("session", { method: "POST", headers, body: JSON.stringify(order) });
      say("");
      await show(true);
    } catch (error) {
      problem.textContent = error.message;
      password.value = "";
      password.focus();
    }
  });
  document.getElementById("banner").replaceChildren();
  return [[form], () => name.focus()];
}

async function logOut() {
  session = await ask("session", { method: "DELETE" });
  newest = null;
  location.hash = "overview";
  show(true);
}

function showSession() {
  const box = document.getElementById("who");
  if (session === null || !session.name) {
    box.replaceChildren();
    return;
  }
  const button = el("button", { type: "button", "data-key": "log-out" }, word("log_out"));
  button.addEventListener("click", logOut);
  box.replaceChildren(`${session.name} (${word(session.role === "operator" ? "operator_role" : session.role)}) `, button);
}
