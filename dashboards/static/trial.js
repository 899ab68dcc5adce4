// The learning curves of one trial, a line for each seed, a plot for each metric.

import { ask, showError } from "./api.js";
import { make, write } from "./dom.js";
import { formatNumber, formatThings } from "./format.js";
import { epochTicks, logTicks, lookOf, makePlot } from "./plots.js";

const METRICS = { val_error: "Validation error", val_loss: "Validation loss", train_loss: "Training loss", grad_norm: "Gradient norm", lr: "Learning rate" };
const LIMIT = 10000;
/** Metrics that span more are drawn on a logarithmic axis. */
const WIDE = 30;

const { study, workload, optimizer, trial } = document.getElementById("trial").dataset;
const place = document.getElementById("trial-curves");
const status = document.getElementById("trial-status");

/** All epochs of the trial, a page after another. */
const readEpochs = async () => {
  const epochs = [];
  let cursor = null;
  do {
    const question = new URLSearchParams({ workload, optimizer, trial, limit: LIMIT, ...(cursor === null ? {} : { cursor }) });
    const page = await ask("GET", `/v1/studies/${encodeURIComponent(study)}/epochs?${question}`);
    epochs.push(...page.items);
    cursor = page.next_cursor;
  } while (cursor !== null);
  return epochs;
};

const groupBySeed = (epochs) => {
  const seeds = new Map();
  for (const epoch of epochs) {
    if (!seeds.has(epoch.seed)) seeds.set(epoch.seed, []);
    seeds.get(epoch.seed).push(epoch);
  }
  return seeds;
};

const isWide = (values) => {
  const known = values.filter((value) => value !== null);
  return known.every((value) => value > 0) && Math.max(...known) / Math.min(...known) > WIDE;
};

const buildMetric = (seeds, metric, diverged) => (colours) => {
  const traces = [...seeds].flatMap(([seed, epochs], index) => {
    const look = lookOf(index, colours);
    const line = {
      type: "scatter",
      mode: epochs.length === 1 ? "markers" : "lines",
      name: `seed ${seed}`,
      x: epochs.map(({ epoch }) => epoch),
      y: epochs.map((epoch) => epoch[metric]),
      line: { color: look.colour, width: 1.8, dash: look.line },
      marker: { color: look.colour, symbol: look.symbol, size: 8 },
      text: epochs.map((epoch) => `seed ${seed}, epoch ${epoch.epoch}: ${formatNumber(epoch[metric])}`),
      hovertemplate: "%{text}<extra></extra>",
    };
    const last = epochs.findLast((epoch) => epoch[metric] !== null);
    if (!diverged.has(seed) || !last) return [line];
    const cross = {
      type: "scatter",
      mode: "markers",
      x: [last.epoch],
      y: [last[metric]],
      marker: { symbol: "x", size: 10, color: look.colour },
      text: [`seed ${seed} diverged`],
      hovertemplate: "%{text}<extra></extra>",
      showlegend: false,
    };
    return [line, cross];
  });
  const all = [...seeds.values()].flat().map((epoch) => epoch[metric]);
  return {
    traces,
    layout: {
      xaxis: { title: { text: "Epoch" }, zeroline: false, ...epochTicks([...seeds.values()].flat().map(({ epoch }) => epoch)) },
      yaxis: { zeroline: false, title: { text: METRICS[metric] }, ...(isWide(all) ? logTicks(all) : { type: "linear" }) },
      showlegend: true,
      legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    },
  };
};

const showMetric = async (seeds, metric, diverged) => {
  const title = METRICS[metric];
  const heading = make("h3", { id: `curve-${metric}` }, title);
  const plotPlace = make("div", { class: "plot", role: "group", "aria-labelledby": heading.id });
  const last = [...seeds].map(([seed, epochs]) => `seed ${seed} ${formatNumber(epochs.at(-1)[metric])} after epoch ${epochs.at(-1).epoch}`);
  place.append(make("figure", { class: "panel" }, heading, plotPlace, make("figcaption", { class: "quiet small" }, `At the end: ${last.join("; ")}.`)));
  await makePlot(plotPlace, `${study}-${optimizer}-${trial}-${metric}`, buildMetric(seeds, metric, diverged));
};

const load = async () => {
  try {
    const [epochs, detail] = await Promise.all([readEpochs(), ask("GET", `/v1/studies/${[study, "trials", workload, optimizer, trial].map(encodeURIComponent).join("/")}`)]);
    const seeds = groupBySeed(epochs);
    write(status, epochs.length ? `${formatThings(seeds.size, "seed")}. Crosses: runs that diverged.` : "No epoch has ended yet.");
    const diverged = new Set(detail.runs_of_it.filter((run) => run.termination === "diverged").map((run) => run.seed));
    for (const metric of Object.keys(METRICS)) {
      const values = new Set(epochs.map((epoch) => epoch[metric]));
      const isConstant = metric === "lr" && values.size === 1; // as the hyperparameters say
      if (!isConstant && epochs.some((epoch) => epoch[metric] !== null)) await showMetric(seeds, metric, diverged);
    }
  } catch (error) {
    write(status, "");
    showError(place, error);
  }
};

load();
