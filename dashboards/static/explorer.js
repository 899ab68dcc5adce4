// The landscape explorer: what is looked at stands in the address, so that a view can be shared and gone back to.

import { ask, showError } from "./api.js";
import { drawBar, makeScale } from "./colour_scale.js";
import { make, write } from "./dom.js";
import { formatNumber, formatShare } from "./format.js";
import { buildMap, listPoints, tellCell, tellPoint } from "./landscape.js";
import { makePlot } from "./plots.js";
import { formatSetting } from "./scales.js";
import { makeTable } from "./tables.js";
import { showTrial } from "./trial_panel.js";
import { addressOf, readView } from "./view.js";

const WAIT = 250;
const root = document.getElementById("explorer");
const study = root.dataset.study;
const form = document.getElementById("view");
const place = document.getElementById("maps");
const status = document.getElementById("explorer-status");
const panel = document.getElementById("chosen");
const boxes = () => [...form.querySelectorAll('input[name="optimizer"]')];

/** The maps that are shown: optimizer -> its figure. */
const figures = new Map();
let landscape = null;
let scale = null;
let asking = null;
let timer = 0;

const restore = () => {
  readView(form);
  form.elements.slider.value = form.elements.tolerance.value;
};

const chosenTrial = () => {
  const given = new URLSearchParams(location.search).get("trial") ?? "";
  const cut = given.lastIndexOf(":");
  return cut < 0 ? null : { optimizer: given.slice(0, cut), trial: Number(given.slice(cut + 1)) };
};

const questionOf = () => {
  const question = new URLSearchParams();
  for (const name of ["workload", "x", "y", "metric", "tolerance"]) {
    if (form.elements[name].value) question.set(name, form.elements[name].value);
  }
  for (const box of boxes()) if (box.checked) question.append("optimizer", box.value);
  return question;
};

const load = async () => {
  asking?.abort();
  if (!boxes().some((box) => box.checked)) {
    write(status, "Choose at least one optimizer.");
    place.replaceChildren();
    return;
  }
  const controller = new AbortController();
  asking = controller;
  place.setAttribute("aria-busy", "true");
  try {
    landscape = await ask("GET", `/v1/studies/${encodeURIComponent(study)}/landscape?${questionOf()}`, { signal: controller.signal });
    scale = makeScale(landscape);
    await show();
    const { tolerance, best, reference } = landscape;
    write(status, best === null ? "No trial has finished yet." : `Good: at most ${formatNumber(best + tolerance * (reference - best))}, which is ${formatShare(tolerance)} of the way from the best (${formatNumber(best)}) to ${formatNumber(reference)}: ${landscape.reference_source}.`);
  } catch (error) {
    if (error.name === "AbortError") return;
    figures.clear();
    showError(place, error);
    write(status, "");
  } finally {
    if (asking === controller) place.removeAttribute("aria-busy");
  }
};

const show = async () => {
  const metric = form.elements.metric.selectedOptions[0].textContent;
  document.getElementById("mark-hatch").hidden = !landscape.y || !landscape.cells.some((cell) => cell.grid);
  drawBar(document.getElementById("bar"), scale, metric);
  write(document.getElementById("bar-title"), `${metric}${scale.isLog ? " (log)" : ""}`);
  const names = landscape.cells.map((cell) => cell.optimizer);
  for (const name of figures.keys()) if (!names.includes(name)) figures.delete(name);
  const shown = landscape.cells.map((cell) => figures.get(cell.optimizer) ?? makeFigure(cell));
  place.replaceChildren(...shown.map((figure) => figure.element));
  for (const [index, figure] of shown.entries()) {
    await figure.show(landscape.cells[index]);
    await new Promise((next) => setTimeout(next)); // what is drawn is seen before the next one is
  }
  await open();
};

/** A map with its caption, its slider and its table. */
const makeFigure = (first) => {
  const heading = make("h2", { id: `map-${first.optimizer}` }, first.title);
  const plotPlace = make("div", { class: "plot map", role: "group", "aria-labelledby": heading.id });
  const slider = make("input", { type: "range", min: 1, max: 1, value: 1, step: 1 });
  const said = make("output", { class: "said" });
  const opener = make("button", { type: "button" }, "Show trial");
  const reader = make("div", { class: "reader" }, make("label", {}, "Points, lowest first ", slider), said, opener);
  const caption = make("figcaption");
  const table = make("details", { class: "as-table" }, make("summary", {}, "Points as a table"));
  const lacking = make("p", { class: "lacking quiet" });
  const element = make("figure", { class: "panel map-figure" }, heading, lacking, plotPlace, caption, reader, table);
  const figure = { element, cell: first, points: [], plot: null, chosen: null, zoom: {} };

  const tell = () => {
    const point = figure.points[slider.value - 1];
    if (!point) return;
    const words = tellPoint(point, figure.cell, landscape.metric).join("; ");
    write(said, words);
    slider.setAttribute("aria-valuetext", words);
    hover(figure, point);
  };
  slider.addEventListener("input", tell);
  slider.addEventListener("focus", tell);
  slider.addEventListener("blur", () => figure.plot?.hover([]));
  const choose = () => choosePoint(figure.cell.optimizer, figure.points[slider.value - 1].trial);
  slider.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), choose()));
  opener.addEventListener("click", choose);
  table.addEventListener("toggle", () => fillTable(table, figure));

  figure.show = async (cell) => {
    const moved = figure.cell.x?.name !== cell.x?.name || figure.cell.y?.name !== cell.y?.name;
    Object.assign(figure, { cell, points: listPoints(cell), zoom: moved ? {} : figure.zoom });
    const missing = [landscape.x, landscape.y].filter((name, index) => name && !(index ? cell.y : cell.x));
    lacking.hidden = missing.length === 0 && cell.points.trial.length > 0;
    for (const part of [plotPlace, caption, reader, table]) part.hidden = !lacking.hidden;
    if (!lacking.hidden) return void lacking.replaceChildren(...tellLack(cell, missing));
    slider.max = figure.points.length;
    slider.value = Math.min(slider.value, figure.points.length);
    write(said, "");
    caption.replaceChildren(...tellCell(cell, landscape).map((line, index) => make("p", { class: index ? "quiet" : null }, line)));
    fillTable(table, figure);
    if (figure.plot) return figure.plot.draw();
    figure.plot = await makePlot(plotPlace, `${study}-${landscape.workload}-${cell.optimizer}`, (colours) => {
      figure.chosen = chosenOf(figure);
      return buildMap(figure.cell, figure.points, landscape, { scale, colours, chosen: figure.chosen, zoom: figure.zoom });
    });
    figure.plot.on("plotly_click", ({ points: [point] }) => point.customdata !== undefined && choosePoint(figure.cell.optimizer, point.customdata));
    figure.plot.on("plotly_relayout", (change) => followZoom(figure, change));
  };
  figures.set(first.optimizer, figure);
  return figure;
};

const chosenOf = (figure) => {
  const chosen = chosenTrial();
  return chosen?.optimizer === figure.cell.optimizer ? chosen.trial : null;
};

/** Ticks follow what is shown of an axis. */
const followZoom = (figure, change) => {
  for (const letter of ["x", "y"]) {
    const [low, high] = [change[`${letter}axis.range[0]`], change[`${letter}axis.range[1]`]];
    if (low !== undefined) figure.zoom[letter] = [low, high];
    else if (change[`${letter}axis.autorange`] || change[`${letter}axis.range`]) delete figure.zoom[letter];
  }
  figure.plot.draw();
};

const hover = (figure, point) => {
  const traces = figure.element.querySelector(".map").data;
  for (const [curveNumber, trace] of traces.entries()) {
    const pointNumber = trace.hovertemplate && trace.customdata ? trace.customdata.indexOf(point.trial) : -1;
    if (pointNumber >= 0) return figure.plot.hover([{ curveNumber, pointNumber }]);
  }
  return figure.plot?.hover([]);
};

const tellLack = (cell, missing) => {
  if (!missing.length) return [cell.why_not || "No trial has finished yet."];
  const axes = JSON.parse(boxes().find((box) => box.value === cell.optimizer).dataset.axes);
  const words = `${cell.title} has no axis ${missing.join(" and none ")}. `;
  const [x, y] = axes.includes(landscape.x) ? [landscape.x, axes.find((name) => name !== landscape.x)] : axes;
  if (!x) return [words];
  const view = new URLSearchParams({ workload: landscape.workload, x, y: y ?? "", metric: landscape.metric, optimizer: cell.optimizer });
  return [words, make("a", { href: `?${view}` }, `Show it over ${x}${y ? ` and ${y}` : " alone"}`)];
};

const fillTable = (details, figure) => {
  if (!details.open) return;
  const { cell, points } = figure;
  const truth = (value) => (value === null ? "\u2013" : value ? "yes" : "no");
  const button = (point) => {
    const opener = make("button", { type: "button", class: "plain link" }, String(point.trial));
    opener.addEventListener("click", () => choosePoint(cell.optimizer, point.trial));
    return opener;
  };
  const columns = [
    { title: "Trial", value: (point) => point.trial, show: button },
    { title: cell.x.name, value: (point) => point.x, show: (point) => formatSetting(point.x), number: true },
    ...(cell.y ? [{ title: cell.y.name, value: (point) => point.y, show: (point) => formatSetting(point.y), number: true }] : []),
    { title: landscape.metric, value: (point) => point.value, show: (point) => formatNumber(point.value), number: true },
    { title: "sd", value: (point) => point.sd, show: (point) => formatNumber(point.sd), number: true },
    { title: "Seeds", value: (point) => point.seeds, show: (point) => String(point.seeds), number: true },
    { title: "Diverged", value: (point) => point.diverged, show: (point) => String(point.diverged), number: true },
    { title: "Good", value: (point) => (point.good === null ? null : Number(point.good)), show: (point) => truth(point.good) },
  ];
  details.querySelector(".sortable")?.remove();
  details.append(makeTable({ caption: `Trials of ${cell.title} on ${landscape.workload}`, columns, items: points }));
};

const choosePoint = async (optimizer, trial) => {
  history.pushState(null, "", addressOf(form, { trial: `${optimizer}:${trial}` }));
  await open();
  panel.querySelector("h2")?.focus();
};

const open = async () => {
  const chosen = chosenTrial();
  // A map of a thousand points takes a while to draw: only those that change are.
  for (const figure of figures.values()) if (figure.plot && figure.chosen !== chosenOf(figure)) await figure.plot.draw();
  root.classList.toggle("has-chosen", chosen !== null);
  await showTrial(panel, chosen && { study, workload: landscape.workload, title: figures.get(chosen.optimizer)?.cell.title ?? chosen.optimizer, ...chosen }, () => {
    history.pushState(null, "", addressOf(form));
    open();
  });
};

/** Whoever chooses the other axis means to change them round: no map has the same one twice. */
const keepAxesApart = (changed) => {
  const { x, y } = form.elements;
  const other = { x: y, y: x }[changed.name];
  if (other && changed.value === other.value) other.value = landscape?.[changed.name] ?? "";
  if (x.value === y.value) y.value = "";
};

const change = (event) => {
  keepAxesApart(event.target);
  if (event.target === form.elements.slider) form.elements.tolerance.value = form.elements.slider.value;
  if (event.target === form.elements.tolerance) form.elements.slider.value = form.elements.tolerance.value;
  if (!form.reportValidity()) return;
  clearTimeout(timer);
  timer = setTimeout(() => {
    const address = addressOf(form);
    if (event.type === "input") history.replaceState(null, "", address);
    else history.pushState(null, "", address);
    load();
  }, event.type === "input" ? WAIT : 0);
};

form.addEventListener("change", (event) => event.target.type !== "range" && change(event));
form.elements.slider.addEventListener("input", change);
form.addEventListener("submit", (event) => event.preventDefault());
addEventListener("popstate", () => {
  restore();
  load();
});
restore();
load();
