// Learning curves of chosen trials: means over seeds, their range, and where runs diverged; live while the study runs.

import { ask, showError } from "./api.js";
import { readColours, onThemeChange } from "./colours.js";
import { make, write } from "./dom.js";
import { formatCount, formatNumber } from "./format.js";
import { epochTicks, escapeText, fade, logTicks, lookOf, makePlot } from "./plots.js";
import { formatSetting } from "./scales.js";
import { makeTable } from "./tables.js";
import { trialAddress } from "./trial_panel.js";
import { addressOf, readView } from "./view.js";

const WAIT = 250;
/** While a study runs, curves are asked for at most this often. */
const BREAK = 10000;
const root = document.getElementById("curves");
const study = root.dataset.study;
const form = document.getElementById("view");
const place = document.getElementById("curve-plot");
const status = document.getElementById("curves-status");
const tablePlace = document.getElementById("curve-table");
const boxes = [...form.querySelectorAll('input[name="optimizer"]')];
const places = new Map(boxes.map((box, index) => [box.value, index]));
const titles = new Map(boxes.map((box) => [box.value, box.dataset.title]));

let data = null;
let plot = null;
let asking = null;
let timer = 0;
let asked = 0;
let seen = null;

const questionOf = () => {
  const question = new URLSearchParams();
  for (const name of ["workload", "metric", "choose", "count"]) question.set(name, form.elements[name].value);
  for (const box of boxes) if (box.checked) question.append("optimizer", box.value);
  return question;
};

const lastOf = (values) => values.findLastIndex((value) => value !== null);

const tell = (curve, index) => {
  const range = curve.low[index] === null ? "" : ` [${formatNumber(curve.low[index])}, ${formatNumber(curve.high[index])}]`;
  return [
    `${titles.get(curve.optimizer)}, trial ${curve.trial}`,
    `epoch ${curve.epochs[index]}: ${formatNumber(curve.mean[index])}${range}`,
    `${curve.count[index]} of ${curve.seeds} seeds`,
  ];
};

const makeBand = (curve, look) => {
  const known = curve.epochs.map((_, index) => index).filter((index) => curve.low[index] !== null && curve.high[index] !== null);
  const side = (values, order) => order.map((index) => values[index]);
  const back = known.toReversed();
  return {
    type: "scatter",
    mode: "lines",
    x: [...side(curve.epochs, known), ...side(curve.epochs, back)],
    y: [...side(curve.high, known), ...side(curve.low, back)],
    fill: "toself",
    fillcolor: fade(look.colour, 0.14),
    line: { width: 0 },
    hoverinfo: "skip",
    showlegend: false,
    legendgroup: curve.optimizer,
  };
};

const makeLine = (curve, look, isFirst) => ({
  type: "scatter",
  mode: curve.epochs.length === 1 ? "markers" : "lines",
  name: escapeText(titles.get(curve.optimizer)),
  legendgroup: curve.optimizer,
  showlegend: isFirst,
  x: curve.epochs,
  y: curve.mean,
  line: { color: look.colour, width: 2, dash: look.line },
  marker: { color: look.colour, symbol: look.symbol, size: 8 },
  text: curve.epochs.map((_, index) => tell(curve, index).map(escapeText).join("<br>")),
  hovertemplate: "%{text}<extra></extra>",
});

/** Crosses stand on the line, at its last place where no seed is left. */
const makeCrosses = (curve, look) => {
  const at = curve.diverged_at.map((epoch) => {
    const index = curve.epochs.findLastIndex((own) => own <= epoch);
    return Math.min(index < 0 ? 0 : index, Math.max(lastOf(curve.mean), 0));
  });
  return {
    type: "scatter",
    mode: "markers",
    x: at.map((index) => curve.epochs[index]),
    y: at.map((index) => curve.mean[index]),
    marker: { symbol: "x", size: 9, color: look.colour, line: { width: 1 } },
    text: curve.diverged_at.map((epoch) => escapeText(`${titles.get(curve.optimizer)}, trial ${curve.trial}: a run diverged after epoch ${epoch}`)),
    hovertemplate: "%{text}<extra></extra>",
    showlegend: false,
    legendgroup: curve.optimizer,
  };
};

const build = (colours) => {
  const first = new Set();
  const bands = [];
  const lines = [];
  for (const curve of data.curves) {
    const look = lookOf(places.get(curve.optimizer), colours);
    if (form.elements.bands.checked && curve.seeds > 1) bands.push(makeBand(curve, look));
    lines.push(makeLine(curve, look, !first.has(curve.optimizer)));
    first.add(curve.optimizer);
    if (curve.diverged_at.length) lines.push(makeCrosses(curve, look));
  }
  const title = form.elements.metric.selectedOptions[0].textContent;
  const isLog = form.elements.log.checked;
  return {
    traces: [...bands, ...lines],
    layout: {
      xaxis: { title: { text: "Epoch" }, rangemode: "tozero", zeroline: false, ...epochTicks(data.curves.flatMap((curve) => curve.epochs)) },
      yaxis: { title: { text: title }, zeroline: false, ...(isLog ? logTicks(data.curves.flatMap((curve) => curve.mean)) : { type: "linear" }) },
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
      uirevision: `${form.elements.metric.value} ${isLog}`,
    },
  };
};

const makeSetting = ([name, value]) => [make("span", { class: "setting" }, make("span", { class: "quiet" }, name), ` ${formatSetting(value)}`), " "];

const showTable = () => {
  const last = (curve) => lastOf(curve.mean);
  const columns = [
    { title: "Optimizer", value: (curve) => titles.get(curve.optimizer), show: (curve) => titles.get(curve.optimizer) },
    { title: "Trial", value: (curve) => curve.trial, show: (curve) => make("a", { href: trialAddress({ study, ...curve }) }, String(curve.trial)), number: true },
    { title: "Hyperparameters", value: (curve) => JSON.stringify(curve.hyperparameters), show: (curve) => make("span", {}, ...Object.entries(curve.hyperparameters).flatMap(makeSetting)) },
    { title: "Objective", value: (curve) => curve.objective, show: (curve) => formatNumber(curve.objective), number: true },
    { title: "Epochs", value: (curve) => curve.epochs.at(-1) ?? null, show: (curve) => formatCount(curve.epochs.at(-1) ?? null), number: true },
    { title: "Last mean", value: (curve) => curve.mean[last(curve)] ?? null, show: (curve) => formatNumber(curve.mean[last(curve)] ?? null), number: true },
    { title: "Smallest", value: (curve) => curve.low[last(curve)] ?? null, show: (curve) => formatNumber(curve.low[last(curve)] ?? null), number: true },
    { title: "Largest", value: (curve) => curve.high[last(curve)] ?? null, show: (curve) => formatNumber(curve.high[last(curve)] ?? null), number: true },
    { title: "Seeds", value: (curve) => curve.seeds, show: (curve) => String(curve.seeds), number: true },
    { title: "Diverged", value: (curve) => curve.diverged_at.length, show: (curve) => String(curve.diverged_at.length), number: true },
  ];
  tablePlace.replaceChildren(makeTable({ caption: "The curves at their last epoch", columns, items: data.curves }));
};

const show = async () => {
  const isEmpty = data.curves.length === 0;
  place.parentElement.hidden = isEmpty;
  write(status, isEmpty ? "No trial has an epoch yet." : `${data.curves.length} of ${formatCount(data.trials)} trials.${data.thinned ? " Epochs between others are left out." : ""}`);
  if (isEmpty) return tablePlace.replaceChildren();
  showTable();
  place.setAttribute("aria-label", `Learning curves of ${data.curves.length} trials; the table below has their last epochs`);
  if (plot) await plot.draw();
  else plot = await makePlot(place, `${study}-curves`, build);
  return undefined;
};

const load = async () => {
  asking?.abort();
  asking = new AbortController();
  asked = Date.now();
  if (!boxes.some((box) => box.checked)) return write(status, "Choose at least one optimizer.");
  try {
    data = await ask("GET", `/v1/studies/${encodeURIComponent(study)}/curves?${questionOf()}`, { signal: asking.signal });
    await show();
  } catch (error) {
    if (error.name !== "AbortError") showError(tablePlace, error);
  }
  return undefined;
};

const showSwatches = () => {
  const colours = readColours();
  for (const swatch of form.querySelectorAll(".swatch")) swatch.style.background = lookOf(Number(swatch.dataset.place), colours).colour;
};

form.addEventListener("change", () => {
  if (!form.reportValidity()) return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    history.pushState(null, "", addressOf(form));
    load();
  }, WAIT);
});
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => {
  readView(form);
  load();
});
addEventListener("studychange", ({ detail }) => {
  const isNew = seen !== null && seen !== detail.runs_ended;
  if (seen === null || (isNew && Date.now() - asked >= BREAK)) {
    if (isNew) load();
    seen = detail.runs_ended;
  }
});
onThemeChange(showSwatches);
showSwatches();
readView(form);
load();
