// Makes API tokens, shows their secret once, and revokes them.

import { ask, showError } from "./api.js";
import { copy, make, writeState } from "./dom.js";
import { formatTime } from "./format.js";

const find = (id) => document.getElementById(id);
const form = find("make");
const problem = find("make-problem");
const body = document.querySelector("#tokens tbody");

const timeOf = (at) => (at === null ? "never" : make("time", { datetime: at }, formatTime(at)));

const revokeButton = (name) =>
  make("button", { type: "button", class: "danger small", "data-revoke": true }, "Revoke", make("span", { class: "hidden-text" }, ` ${name}`));

const addRow = (token) => {
  const row = make(
    "tr",
    { "data-token": token.id },
    make("th", { scope: "row" }, token.name),
    make("td", { "data-label": "Role" }, token.role),
    make("td", { "data-label": "State" }, make("span", { class: "state", "data-state": "usable" }, "usable")),
    make("td", { "data-label": "Made" }, timeOf(token.created_at)),
    make("td", { "data-label": "Expires" }, timeOf(token.expires_at)),
    make("td", { class: "number" }, revokeButton(token.name)),
  );
  body.prepend(row);
  find("tokens").hidden = false;
  find("no-tokens").hidden = true;
};

const showSecret = (token) => {
  const secret = make("input", { type: "text", class: "code", readonly: true, id: "secret", value: token.secret, spellcheck: "false" });
  const button = make("button", { type: "button", class: "primary" }, "Copy");
  button.addEventListener("click", () => {
    secret.select();
    copy(button, token.secret);
  });
  find("made").replaceChildren(
    make(
      "div",
      { class: "box" },
      make("p", { class: "box-title" }, `Token \u201c${token.name}\u201d was made. Copy it now: it is shown this once.`),
      make("div", { class: "filters" }, make("div", { class: "field grows" }, make("label", { for: "secret" }, "Secret"), secret), button),
    ),
  );
  button.focus();
};

const makeToken = async () => {
  const days = find("token-days").value;
  const wanted = { name: find("token-name").value.trim(), role: find("token-role").value, days: days ? Number(days) : null };
  problem.replaceChildren();
  try {
    const token = await ask("POST", "/v1/tokens", { body: wanted });
    addRow(token);
    showSecret(token);
    form.reset();
  } catch (error) {
    showError(problem, error);
  }
};

const revoke = async (button) => {
  const row = button.closest("tr");
  if (!confirm(`Revoke token \u201c${row.cells[0].textContent}\u201d? Programs that use it are refused from then on.`)) return;
  try {
    await ask("DELETE", `/v1/tokens/${row.dataset.token}`);
    writeState(row.querySelector(".state"), "revoked");
    button.remove();
    find("token-name").focus();
  } catch (error) {
    showError(problem, error);
  }
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  makeToken();
});
body.addEventListener("click", (event) => {
  const button = event.target.closest("[data-revoke]");
  if (button) revoke(button);
});
