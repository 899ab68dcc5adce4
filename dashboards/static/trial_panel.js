// The trial that was chosen in a landscape: its hyperparameters and its runs, with a link to its page.

import { ask, showError } from "./api.js";
import { make } from "./dom.js";
import { formatCount, formatDuration, formatNumber } from "./format.js";
import { formatSetting } from "./scales.js";

let asking = null;

/** The page of a trial. @param {{study: string, workload: string, optimizer: string, trial: number}} of @returns {string} */
export const trialAddress = ({ study, workload, optimizer, trial }) =>
  `/studies/${[study, "trials", workload, optimizer, trial].map(encodeURIComponent).join("/")}`;

/** The name of a termination beside its shape. @param {?string} termination @returns {HTMLElement} */
export const makeEnding = (termination) => make("span", { class: "state", "data-state": termination ?? "waiting" }, (termination ?? "waiting").replaceAll("_", " "));

const makeRuns = (runs) => {
  const head = ["Seed", "End", "Objective", "Epochs", "Time"].map((title, place) => make("th", { scope: "col", class: place > 1 ? "number" : null }, title));
  const rows = runs.map((run) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, String(run.seed)),
      make("td", {}, makeEnding(run.termination)),
      make("td", { class: "number" }, formatNumber(run.objective)),
      make("td", { class: "number" }, formatCount(run.epochs)),
      make("td", { class: "number" }, formatDuration(run.seconds)),
    ),
  );
  const table = make("table", {}, make("caption", { class: "hidden-text" }, "Its runs"), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows));
  return make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Its runs" }, table);
};

const describe = (of, trial, close) => {
  const button = make("button", { type: "button", class: "plain", "aria-label": "Close the trial" }, "\u00d7");
  button.addEventListener("click", close);
  const settings = Object.entries(trial.hyperparameters).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, formatSetting(value))));
  const reasons = [...new Set(trial.runs_of_it.map((run) => run.reason).filter(Boolean))];
  const spread = trial.sd === null ? "" : ` \u00b1 ${formatNumber(trial.sd)}`;
  return [
    make("div", { class: "heading" }, make("h2", { tabindex: -1 }, `${of.title}, trial ${of.trial}`), button),
    make("p", {}, "Objective ", make("b", {}, formatNumber(trial.objective)), `${spread}; ${trial.diverged} of ${trial.runs} runs diverged`),
    make("dl", { class: "facts settings" }, ...settings),
    makeRuns(trial.runs_of_it),
    ...reasons.map((reason) => make("p", { class: "quiet small" }, reason)),
    make("p", { class: "buttons" }, make("a", { class: "button primary", href: trialAddress(of) }, "Open trial"), make("a", { class: "button", href: `/dashboard/studies/${trial.optuna_study_id}` }, "Optuna Dashboard")),
  ];
};

/**
 * Show a trial, or nothing.
 * @param {HTMLElement} panel
 * @param {?{study: string, workload: string, optimizer: string, title: string, trial: number}} of None closes the panel.
 * @param {function(): void} close
 */
export const showTrial = async (panel, of, close) => {
  const key = of ? trialAddress(of) : "";
  if (panel.dataset.shows === key) return;
  panel.dataset.shows = key;
  asking?.abort();
  panel.hidden = !of;
  if (!of) return void panel.replaceChildren();
  asking = new AbortController();
  try {
    const trial = await ask("GET", `/v1${key}`, { signal: asking.signal });
    panel.replaceChildren(...describe(of, trial, close));
  } catch (error) {
    if (error.name !== "AbortError") showError(panel, error);
  }
};
