// What failed in a study and why, and what happened in it.

import { ask, showError } from "./api.js";
import { make } from "./dom.js";
import { formatThings, formatTime } from "./format.js";
import { makeEnding } from "./trial_panel.js";

const study = encodeURIComponent(document.getElementById("failures").dataset.study);
const failures = document.getElementById("failure-list");
const events = document.getElementById("event-list");
let cursor = "";

const describe = (failure) =>
  make(
    "article",
    { class: "panel failure" },
    make("p", { class: "heading" }, makeEnding(failure.termination), make("span", { class: "quiet" }, `${failure.optimizer} on ${failure.workload}, ${formatThings(failure.attempts, "attempt")}`)),
    make("p", { class: "breaks" }, failure.reason || "No reason was given."),
    ...(failure.error ? [make("details", {}, make("summary", {}, "The whole error"), make("pre", { tabindex: 0 }, failure.error))] : []),
  );

const showFailures = ({ items, more }) => {
  if (!items.length) return failures.replaceChildren(make("div", { class: "panel quiet" }, "Nothing failed."));
  const rest = more ? [make("p", { class: "quiet" }, `${formatThings(more, "further kind")} of failure, less frequent.`)] : [];
  return failures.replaceChildren(...items.map(describe), ...rest);
};

const tellDetails = (details) =>
  Object.entries(details)
    .filter(([, value]) => value !== null && value !== "")
    .map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(" ") : typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");

const makeEvent = (entry) =>
  make(
    "tr",
    { "data-level": entry.level },
    make("td", { "data-label": "Time", class: "nowrap" }, make("time", { datetime: entry.at }, formatTime(entry.at))),
    make("th", { scope: "row", class: "nowrap" }, entry.event.replaceAll("_", " "), entry.level === "info" ? "" : make("span", { class: "level" }, ` ${entry.level}`)),
    make("td", { "data-label": "Details", class: "breaks" }, tellDetails(entry.details)),
  );

const head = () => make("thead", {}, make("tr", {}, ...["Time (UTC)", "Event", "Details"].map((title) => make("th", { scope: "col" }, title))));

const showEvents = (page) => {
  let body = events.querySelector("tbody");
  if (!body) {
    if (!page.items.length) return events.replaceChildren(make("div", { class: "panel quiet" }, "Nothing has happened yet."));
    body = make("tbody");
    const table = make("table", { class: "cards events" }, make("caption", { class: "hidden-text" }, "Events, oldest first"), head(), body);
    events.replaceChildren(make("div", { class: "scroll tall", tabindex: 0, role: "region", "aria-label": "Events, oldest first" }, table));
  }
  body.append(...page.items.map(makeEvent));
  cursor = page.next_cursor;
  events.querySelector("button")?.remove();
  if (!cursor) return undefined;
  const button = make("button", { type: "button" }, "Show further events");
  button.addEventListener("click", loadEvents);
  return events.append(button);
};

const loadEvents = async () => {
  try {
    showEvents(await ask("GET", `/v1/studies/${study}/logs${cursor ? `?cursor=${encodeURIComponent(cursor)}` : ""}`));
  } catch (error) {
    showError(events, error);
  } finally {
    events.removeAttribute("aria-busy");
  }
};

const loadFailures = async () => {
  try {
    showFailures(await ask("GET", `/v1/studies/${study}/failures`));
  } catch (error) {
    showError(failures, error);
  } finally {
    failures.removeAttribute("aria-busy");
  }
};

loadFailures();
loadEvents();
