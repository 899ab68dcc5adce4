// The list of studies follows what happens; new ones are announced, and shown when people want them.

import { ask } from "./api.js";
import { make, write, writeState } from "./dom.js";
import { formatCount, formatDuration, formatNumber, formatRate, formatShare, formatThings } from "./format.js";
import { listen } from "./live.js";

const SHOWN = 3;
/** States in which a study is going to change; and how long one of them may be silent after events began to come. */
const ACTIVE = ["queued", "running", "cancelling"];
const PATIENCE = 3000;

const table = document.getElementById("studies");
const rows = new Map([...document.querySelectorAll("tr[data-study]")].map((row) => [row.dataset.study, row]));
const newest = Date.parse(table?.dataset.newest ?? "") || 0;
const fresh = new Set();
const told = new Set();
const states = new Map([...rows].map(([name, row]) => [name, row.dataset.state]));

let look = 0;

const field = (row, name) => row.querySelector(`[data-field="${name}"]`);

/** Best trials in the order of pages/studies.py: first the best optimizer of every workload. */
const orderBest = (items) => {
  const places = new Map();
  return items
    .toSorted((a, b) => a.objective - b.objective)
    .map((best, place) => {
      const rank = places.get(best.workload) ?? 0;
      places.set(best.workload, rank + 1);
      return { best, rank, place };
    })
    .sort((a, b) => a.rank - b.rank || a.place - b.place)
    .map(({ best }) => best);
};

const listBest = (items, several) =>
  make(
    "ul",
    { class: "best" },
    ...items.map(({ workload, optimizer, objective }) => {
      const name = make("span", {}, optimizer, ...(several ? [" ", make("span", { class: "quiet" }, workload)] : []));
      return make("li", {}, name, " ", make("b", {}, formatNumber(objective)));
    }),
  );

const showBest = (cell, items) => {
  const told = JSON.stringify(items);
  if (!items.length || cell.dataset.told === told) return;
  cell.dataset.told = told;
  const ordered = orderBest(items);
  const several = new Set(items.map((best) => best.workload)).size > 1;
  const content = make("div", {}, listBest(ordered.slice(0, SHOWN), several));
  if (ordered.length > SHOWN) {
    const open = cell.querySelector("details")?.open ?? false;
    content.append(make("details", { open }, make("summary", {}, `${ordered.length - SHOWN} more`), listBest(ordered.slice(SHOWN), several)));
  }
  cell.classList.remove("empty-cell");
  cell.replaceChildren(content);
};

const showProgress = (row, study) => {
  const bar = row.querySelector("progress");
  bar.max = Math.max(study.runs, 1);
  bar.value = study.runs_ended;
  const [share, numbers] = row.querySelector(".progress-text").children;
  write(share, formatShare(study.share));
  write(numbers, `${formatCount(study.runs_ended)} of ${formatCount(study.runs)} runs`);
};

const showTime = (row, study) => {
  const left = field(row, "left");
  write(left, formatDuration(study.seconds_left));
  write(field(row, "rate"), formatRate(study.rate));
  field(row, "rate").hidden = study.rate === null;
  left.closest("td").classList.toggle("empty-cell", study.seconds_left === null && study.rate === null);
};

const showStudy = (row, study) => {
  row.dataset.state = study.state;
  writeState(field(row, "state"), study.state);
  showProgress(row, study);
  showTime(row, study);
  showBest(field(row, "best"), study.best);
  write(field(row, "diverged"), formatCount(study.diverged));
  write(field(row, "diverged-share"), formatShare(study.runs_ended ? study.diverged / study.runs_ended : null));
  field(row, "diverged-share").hidden = !study.runs_ended;
  write(field(row, "failed").firstElementChild, formatCount(study.failed));
  field(row, "failed").dataset.any = study.failed ? "yes" : "no";
  write(field(row, "error"), study.error ?? "");
  field(row, "error").hidden = !study.error;
};

const announce = () => {
  const text = `${formatThings(fresh.size, "new study", "new studies")}: show`;
  const place = document.getElementById("new");
  if (place.textContent !== text) place.replaceChildren(make("a", { class: "button", href: "/" }, text));
};

/** Of studies that ended while the page did not listen, nothing may be told: those that are shown as active are asked for. */
const lookAgain = () => {
  told.clear();
  clearTimeout(look);
  look = setTimeout(() => {
    for (const [name, row] of rows) {
      if (ACTIVE.includes(row.dataset.state) && !told.has(name)) {
        ask("GET", `/v1/studies/${name}`).then((study) => showStudy(row, study), () => {}); // the next opening tries again
      }
    }
  }, PATIENCE);
};

const onStudy = (study) => {
  told.add(study.name);
  const row = rows.get(study.name);
  if (row) showStudy(row, study);
  else if (Date.parse(study.created_at) > newest) {
    fresh.add(study.name);
    announce();
  }
  // Something took a study that waited: a server runs again.
  if (states.get(study.name) === "queued" && study.state === "running") document.getElementById("waiting").hidden = true;
  states.set(study.name, study.state);
};

listen("/v1/events", { study: onStudy }, lookAgain);
