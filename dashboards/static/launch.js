// Checks a spec, shows what it would cost, and starts it.

import { ApiError, ask, showError } from "./api.js";
import { make, write } from "./dom.js";
import { formatCount, formatDuration, formatThings } from "./format.js";
import { order } from "./requests.js";

const MOST_BYTES = 1_000_000;

const find = (id) => document.getElementById(id);
const form = find("launch");
const text = find("toml");
const check = find("check");
const start = find("start");
const state = find("state");
const problems = find("problems");
const estimate = find("estimate");
const request = find("request");

const untouched = text.value;
let checked = null; // the text that was found to be valid
let turn = 0; // answers to older checks are dropped

const forget = () => {
  checked = null;
  start.disabled = true;
};

/** Put the caret at a line that a message names. */
const goTo = (line, column) => {
  const before = text.value.split("\n").slice(0, line - 1);
  const place = before.reduce((sum, each) => sum + each.length + 1, 0) + column - 1;
  text.focus();
  text.setSelectionRange(place, place);
  text.scrollTop = Math.max(line - 4, 0) * parseFloat(getComputedStyle(text).lineHeight);
};

const tellProblem = (message) => {
  const item = make("li", {}, message);
  const [, line, column = "1"] = message.match(/at line (\d+)(?:, column (\d+))?/) ?? [];
  if (line) {
    const button = make("button", { type: "button", class: "link" }, `Go to line ${line}`);
    button.addEventListener("click", () => goTo(Number(line), Number(column)));
    item.append(" ", button);
  }
  return item;
};

const showProblems = (messages) => {
  const heading = messages.length === 1 ? "One thing is wrong" : `${messages.length} things are wrong`;
  const list = make("ul", {}, ...messages.map(tellProblem));
  problems.replaceChildren(make("div", { class: "box", "data-kind": "error" }, make("p", { class: "box-title" }, heading), list));
  text.setAttribute("aria-invalid", "true");
};

const fact = (name, value, detail = "") => {
  const shown = make("dd", {}, value);
  if (detail) shown.append(make("small", {}, detail));
  return make("div", {}, make("dt", {}, name), shown);
};

const describeTime = ({ workers, seconds, seconds_low: low, seconds_high: high, wall_seconds: wall }) => {
  if (seconds === null) return [fact("Time", "not known")];
  const range = low === null || high === null ? "" : `${formatDuration(low)} to ${formatDuration(high)}`;
  const alone = fact("Time of one worker", formatDuration(seconds), range);
  return wall === null ? [alone] : [fact(`Time on ${formatThings(workers, "worker")}`, formatDuration(wall)), alone];
};

const showEstimate = ({ name, already, estimate: cost }) => {
  const facts = [
    fact("Study", name),
    fact("Trials", formatCount(cost.trials)),
    fact("Runs", formatCount(cost.runs)),
    fact("Epochs of all runs", formatCount(cost.run_epochs), "at most"),
    ...describeTime(cost),
  ];
  const notes = [make("p", { class: "hint" }, cost.basis)];
  if (cost.workers === null) notes.push(make("p", { class: "hint" }, "No server has workers: the study waits until one is started with adai-study serve, or its cluster has nodes again."));
  estimate.replaceChildren(make("dl", { class: "facts" }, ...facts), ...notes);
  if (already) {
    const known = `This study is there already, ${already}. Starting it again runs what is missing of it, and nothing if it has all its results.`;
    estimate.prepend(make("div", { class: "box", "data-kind": "caution" }, make("p", {}, known)));
  }
};

const showVerdict = (verdict, content) => {
  if (!verdict.valid) {
    showProblems(verdict.problems);
    write(state, "Not valid.");
    return;
  }
  checked = content;
  start.disabled = false;
  write(state, "Valid. Nothing is written before you start it.");
  if (verdict.estimate) showEstimate(verdict);
};

const clear = () => {
  for (const place of [problems, estimate, request]) place.replaceChildren();
  delete request.dataset.told;
  text.removeAttribute("aria-invalid");
};

const runCheck = async () => {
  const mine = ++turn;
  const content = text.value;
  clear();
  forget();
  write(state, "Checking\u2026");
  check.setAttribute("aria-disabled", "true");
  try {
    const verdict = await ask("POST", "/v1/specs/check", { body: { toml: content } });
    if (mine === turn && content === text.value) showVerdict(verdict, content);
  } catch (error) {
    if (mine !== turn) return;
    showError(problems, error);
    write(state, "It could not be checked.");
  } finally {
    check.removeAttribute("aria-disabled");
  }
};

const showStarted = (done) => {
  const link = make("a", { class: "button primary", href: `/studies/${encodeURIComponent(done.study)}` }, `Go to study ${done.study}`);
  request.append(make("p", {}, link));
  write(state, "Started.");
  link.focus();
};

const runStart = async () => {
  if (checked === null || checked !== text.value) return;
  const content = checked;
  problems.replaceChildren();
  forget();
  write(state, "Asked for.");
  try {
    const done = await order("/v1/studies", request, { toml: content });
    if (done.state === "done") showStarted(done);
    else write(state, "It was not started.");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 422 && error.problems.length) showProblems(error.problems);
    else showError(problems, error);
    write(state, "It was not started.");
  }
};

const readFile = async (file) => {
  const name = find("file-name");
  if (file.size > MOST_BYTES) {
    write(name, `${file.name} has ${formatCount(file.size)} bytes; a spec has at most ${formatCount(MOST_BYTES)}.`);
    return;
  }
  text.value = await file.text();
  write(name, `${file.name}, ${formatThings(text.value.split("\n").length, "line")}`);
  for (const link of document.querySelectorAll(".choices a[aria-current]")) link.removeAttribute("aria-current");
  await runCheck();
};

form.addEventListener("submit", (event) => {
  event.preventDefault();
  runCheck();
});
start.addEventListener("click", runStart);
text.addEventListener("input", () => {
  turn += 1;
  if (checked === null) return;
  forget();
  write(state, "Changed since it was checked: check it again.");
});
text.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    runCheck();
  }
});
find("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) readFile(file);
  event.target.value = ""; // the same file may be chosen again after it was changed
});
for (const link of document.querySelectorAll(".choices a")) {
  link.addEventListener("click", (event) => {
    if (text.value !== untouched && !confirm("Leave what you wrote?")) event.preventDefault();
  });
}
