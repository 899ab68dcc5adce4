// A study's page follows what happens to it, and does what its buttons say.

import { showError } from "./api.js";
import { copy, notify, write, writeState } from "./dom.js";
import { formatCount, formatDuration, formatNumber, formatRate, formatShare } from "./format.js";
import { listen } from "./live.js";
import { order } from "./requests.js";

const root = document.getElementById("study");
const asked = document.getElementById("asked");
const buttons = [...document.querySelectorAll("[data-action]")];

const field = (part, name) => part.querySelector(`[data-field="${name}"]`);

const showBar = (part, { runs, runs_ended: ended }, state) => {
  const bar = part.querySelector("progress");
  bar.parentElement.dataset.state = state;
  bar.max = Math.max(runs, 1);
  bar.value = ended;
  write(field(part, "share"), formatShare(runs ? ended / runs : 0));
  write(field(part, "runs"), `${formatCount(ended)} of ${formatCount(runs)} runs`);
};

const showCounts = (part, { diverged, runs_ended: ended, failed, pruned }) => {
  write(field(part, "diverged"), formatCount(diverged));
  write(field(part, "diverged-share"), formatShare(ended ? diverged / ended : null));
  write(field(part, "failed"), formatCount(failed));
  write(field(part, "pruned"), formatCount(pruned));
};

const showCell = (cell) => {
  const row = [...root.querySelectorAll("tr[data-workload]")].find(({ dataset }) => dataset.workload === cell.workload && dataset.optimizer === cell.optimizer);
  if (!row) return;
  showBar(row, cell, cell.runs_ended >= cell.runs ? "completed" : "running");
  showCounts(row, cell);
  field(row, "failed").dataset.any = cell.failed ? "yes" : "no";
  write(field(row, "best"), formatNumber(cell.best_objective));
};

const showReason = (study) => {
  field(root, "error-box").hidden = !study.error;
  write(field(root, "error"), study.error ?? "");
};

const showStudy = (study) => {
  const head = root.querySelector(".facts");
  showBar(head, study, study.state);
  showCounts(head, study);
  for (const name of ["trials", "trials_ended"]) write(field(head, name), formatCount(study[name]));
  for (const name of ["failed", "pruned"]) field(head, `${name}-fact`).hidden = !study[name];
  for (const [name, value, format] of [["left", study.seconds_left, formatDuration], ["rate", study.rate, formatRate]]) {
    field(head, `${name}-fact`).hidden = value === null;
    write(field(head, name), format(value));
  }
  const line = field(root, "driver-line");
  if (line) {
    line.hidden = study.driver === null;
    write(field(line, "driver"), study.driver ?? "");
  }
  showReason(study);
  study.cells.forEach(showCell);
};

/** What can be done, and what is told of training and reports, come from the server: the page is read anew. */
const refresh = async () => {
  const answer = await fetch(location.pathname, { credentials: "same-origin" });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const button of buttons) {
    const fresh = page.querySelector(`[data-action="${button.dataset.action}"]`);
    if (fresh) allow(button, fresh.dataset.why ?? "");
  }
  for (const fresh of page.querySelectorAll("[data-fresh]")) {
    root.querySelector(`[data-fresh="${fresh.dataset.fresh}"]`)?.replaceWith(document.adoptNode(fresh));
  }
  const { report } = page.getElementById("study").dataset;
  if (report === root.dataset.report) return;
  root.dataset.report = report;
  if (!root.querySelector('[data-fresh="report"]')) notify("A new report was written. Load the page again to see it.");
};

const refreshWhereItDiffers = async (study) => {
  writeState(field(root, "state"), study.state);
  const started = study.trials_ended ? "yes" : "no";
  const trained = study.plans.length ? "yes" : "no";
  const isSame = root.dataset.stands === study.state && root.dataset.started === started && root.dataset.trained === trained;
  Object.assign(root.dataset, { stands: study.state, started, trained });
  const isOldReport = Date.parse(study.report?.written_at ?? 0) === Date.parse(root.dataset.report || 0);
  if (!isSame || !isOldReport) await refresh();
};

const allow = (button, why) => {
  if (why) {
    button.setAttribute("aria-disabled", "true");
    button.dataset.why = why;
    button.title = why;
  } else {
    for (const name of ["aria-disabled", "data-why", "title"]) button.removeAttribute(name);
  }
};

const act = async (button) => {
  if (button.dataset.why) return notify(button.dataset.why, "caution");
  if (button.dataset.question && !confirm(button.dataset.question)) return undefined;
  button.disabled = true;
  try {
    const path = `/v1/studies/${encodeURIComponent(root.dataset.study)}/${button.dataset.action}`;
    await order(path, asked);
  } catch (error) {
    showError(asked, error);
  } finally {
    button.disabled = false;
  }
  return undefined;
};

document.querySelector(".tabs [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
for (const button of buttons) button.addEventListener("click", () => act(button));
for (const button of document.querySelectorAll("[data-copies]")) {
  button.addEventListener("click", () => copy(button, document.getElementById(button.dataset.copies).textContent));
}
listen(`/v1/studies/${encodeURIComponent(root.dataset.study)}/events`, {
  study: (study) => {
    showStudy(study);
    refreshWhereItDiffers(study);
    dispatchEvent(new CustomEvent("studychange", { detail: study }));
  },
  request: ({ kind, state }) => {
    if (kind === "report" && state === "done") refresh();
  },
});
