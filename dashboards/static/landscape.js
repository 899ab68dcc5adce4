// Draws one optimizer of a landscape: the report's surrogate as ground, the trials as points on it.

import { formatNumber, formatShare, formatThings } from "./format.js";
import { escapeText, fade } from "./plots.js";
import { formatSetting, formatTick, makeTicks, makeValueTicks, titleOf, toUnit } from "./scales.js";

/** The more points there are, the smaller are their marks: most points, size, width of outlines. */
const SIZES = [[150, 9, 1.2], [500, 6, 0.6], [Infinity, 4.5, 0]];
const HATCHES = 28;
/** Which map of the report lies under which metric. */
const GROUNDS = { objective: "mean", divergence: "diverged", sd: "spread" };

/**
 * The points of an optimizer that have a place, each as an object, the lowest value first.
 * @param {object} cell As the API has it.
 * @returns {object[]}
 */
export const listPoints = (cell) => {
  const { trial, x, y, ...columns } = cell.points;
  return trial
    .map((number, row) => ({
      trial: number,
      x: x[row],
      y: cell.y ? y[row] : null,
      at: cell.x ? toUnit(cell.x, x[row]) : null,
      up: cell.y ? toUnit(cell.y, y[row]) : null,
      isDefault: number === cell.default,
      isBest: number === cell.best,
      ...Object.fromEntries(Object.entries(columns).map(([name, values]) => [name, values[row]])),
    }))
    .sort((a, b) => (a.value ?? Infinity) - (b.value ?? Infinity) || a.trial - b.trial);
};

/** What a point says. @param {object} point @param {object} cell @param {string} metric @returns {string[]} */
export const tellPoint = (point, cell, metric) => {
  const marks = [point.isBest && "best", point.isDefault && "default setting", point.good && "good"].filter(Boolean);
  return [
    `${cell.title}, trial ${point.trial}${marks.length ? ` (${marks.join(", ")})` : ""}`,
    `${cell.x.name} ${formatSetting(point.x)}${cell.y ? `, ${cell.y.name} ${formatSetting(point.y)}` : ""}`,
    `${metric} ${metric === "divergence" ? formatShare(point.value) : formatNumber(point.value)}`,
    `${point.sd === null ? "" : `sd ${formatNumber(point.sd)}, `}${formatThings(point.seeds, "seed")}, ${point.diverged} diverged`,
  ];
};

/** What stands under a map. @param {object} cell @param {object} landscape @returns {string[]} */
export const tellCell = (cell, landscape) => {
  const { good, grid, points } = cell;
  const runs = points.seeds.reduce((sum, seeds) => sum + seeds, 0);
  const diverged = points.diverged.reduce((sum, count) => sum + count, 0);
  const lines = [];
  if (good) {
    const interval = good.low === null ? "" : ` [${formatShare(good.low)}, ${formatShare(good.high)}]`;
    lines.push(`Good: ${formatShare(good.of ? good.count / good.of : null)}${interval}, ${good.count} of ${good.of} points`);
  } else if (cell.why_not) lines.push(`No good share. ${cell.why_not}`);
  const shown = cell.thinned ? `${points.trial.length} of ${formatThings(cell.trials, "trial")} shown` : formatThings(cell.trials, "trial");
  lines.push(`${shown}; ${diverged} of ${formatThings(runs, "run")} diverged`);
  if (grid && GROUNDS[landscape.metric] && grid[GROUNDS[landscape.metric]]) {
    const averaged = grid.averaged.length ? `, averaged over ${grid.averaged.join(", ")}` : "";
    const r2 = landscape.metric === "objective" && grid.r2 !== null ? `, CV R\u00b2 ${grid.r2.toFixed(2)}` : "";
    const kind = landscape.metric === "objective" ? "Ground: surrogate" : "Ground: points near by";
    lines.push(`${kind}${r2}${landscape.metric === "objective" ? averaged : ""}`);
  }
  return lines;
};

const groundOf = (cell, landscape) => cell.grid?.[GROUNDS[landscape.metric]] ?? null;

const makeGround = (cell, landscape, scale) => {
  const rows = groundOf(cell, landscape);
  return {
    type: "heatmap",
    x: cell.grid.x_edges,
    y: cell.grid.y_edges,
    z: rows.map((row) => row.map(scale.place)),
    zmin: scale.place(scale.low),
    zmax: scale.place(scale.high),
    colorscale: scale.stops,
    showscale: false,
    zsmooth: false,
    text: rows.map((row) => row.map((value) => `map ${landscape.metric === "divergence" ? formatShare(value) : formatNumber(value)}`)),
    hovertemplate: "%{text}<extra></extra>",
    hoverongaps: false,
  };
};

/** Stripes over the whole square: they show wherever the ground has gaps. */
const makeHatches = (colours) =>
  Array.from({ length: 2 * HATCHES - 1 }, (_, place) => {
    const shift = (place + 1 - HATCHES) / HATCHES;
    const ends = shift < 0 ? { x0: 0, y0: -shift, x1: 1 + shift, y1: 1 } : { x0: shift, y0: 0, x1: 1, y1: 1 - shift };
    return { type: "line", layer: "below", ...ends, line: { color: fade(colours.quiet, 0.35), width: 1 } };
  });

const heightOf = (point, cell) => (cell.y ? point.up : point.value);

const makeMarks = (points, cell, landscape, { marker, name, hover = false }) => ({
  type: "scatter",
  mode: "markers",
  name,
  x: points.map((point) => point.at),
  y: points.map((point) => heightOf(point, cell)),
  customdata: points.map((point) => point.trial),
  marker,
  cliponaxis: false,
  hoverinfo: hover ? undefined : "skip",
  text: hover ? points.map((point) => tellPoint(point, cell, landscape.metric).map(escapeText).join("<br>")) : undefined,
  hovertemplate: hover ? "%{text}<extra></extra>" : undefined,
});

const sizeOf = (points) => SIZES.find(([most]) => points.length <= most);

const makePoints = (points, cell, landscape, scale) => {
  const [, size, width] = sizeOf(points);
  const coloured = (own, symbol) => ({
    symbol,
    size: symbol === "circle" ? size : size + 1.5,
    color: own.map((point) => scale.place(point.value)),
    cmin: scale.place(scale.low),
    cmax: scale.place(scale.high),
    colorscale: scale.stops,
    line: { color: own.map((point) => scale.contrast(point.value)), width: symbol === "circle" ? width : Math.max(width, 0.7) },
  });
  const plain = points.filter((point) => !point.diverged);
  const crossed = points.filter((point) => point.diverged);
  return [
    makeMarks(plain, cell, landscape, { name: "trials", marker: coloured(plain, "circle"), hover: true }),
    makeMarks(crossed, cell, landscape, { name: "diverged", marker: coloured(crossed, "x"), hover: true }),
  ];
};

/** Rings and the like: in the colour of text on paper, and in one that stands off the ground where there is one. */
const makeHalos = (points, cell, landscape, { scale, colours, chosen }) => {
  const [, size, outline] = sizeOf(points);
  const isOnGround = cell.y && groundOf(cell, landscape) !== null;
  const halo = (matches, symbol, extra, width) => {
    const own = points.filter(matches);
    const color = isOnGround ? own.map((point) => scale.contrast(point.value)) : colours.text;
    return makeMarks(own, cell, landscape, { marker: { symbol: `${symbol}-open`, size: size + extra, color, line: { color, width } } });
  };
  const star = { symbol: "star", size: size + 8, color: colours.text, line: { color: colours.panel, width: 1.5 } };
  return [
    halo((point) => point.good, "circle", outline ? 5 : 2.5, outline ? 1.2 : 0.8),
    makeMarks(points.filter((point) => point.isDefault), cell, landscape, { marker: star }),
    halo((point) => point.isBest, "diamond", 11, 2.5),
    halo((point) => point.trial === chosen, "square", 14, 3),
  ];
};

const makeLine = (cell, landscape, colours) => {
  const { x_edges: edges } = cell.grid;
  const row = groundOf(cell, landscape)[0];
  return {
    type: "scatter",
    mode: "lines",
    x: row.map((_, place) => (edges[place] + edges[place + 1]) / 2),
    y: row,
    line: { color: colours.quiet, width: 2 },
    connectgaps: false,
    hoverinfo: "skip",
  };
};

const makeAxis = (axis, range, more = {}) => ({
  range,
  ...makeTicks(axis, ...range),
  tickmode: "array",
  title: { text: escapeText(titleOf(axis)) },
  zeroline: false,
  showgrid: false,
  mirror: true,
  showline: true,
  ...more,
});

const makeValueAxis = (landscape, scale) => {
  const place = (value) => (scale.isLog ? Math.log10(value) : value);
  const [low, high] = [place(scale.low), place(scale.high)];
  const room = 0.06 * (high - low);
  const ticks = makeValueTicks(scale.low, scale.high, scale.isLog);
  return {
    type: scale.isLog ? "log" : "linear",
    range: [low - room, high + room],
    tickmode: "array",
    tickvals: ticks,
    ticktext: ticks.map(formatTick),
    title: { text: landscape.metric },
    zeroline: false,
    mirror: true,
    showline: true,
  };
};

const EDGE = 0.025;

/**
 * Traces and layout of one optimizer.
 * @param {object} cell As the API has it; it has the axes.
 * @param {object[]} points As listPoints gives them.
 * @param {object} landscape As the API has it.
 * @param {{scale: object, colours: object, chosen: ?number, zoom: object}} look `zoom` holds ranges that people chose.
 * @returns {{traces: object[], layout: object}}
 */
export const buildMap = (cell, points, landscape, { scale, colours, chosen, zoom }) => {
  const placed = points.filter((point) => point.at !== null && (cell.y ? point.up !== null : point.value !== null));
  const hasGround = groundOf(cell, landscape) !== null;
  const whole = [-EDGE, 1 + EDGE];
  const ground = !hasGround ? [] : [cell.y ? makeGround(cell, landscape, scale) : makeLine(cell, landscape, colours)];
  const marks = [...makePoints(placed, cell, landscape, scale), ...makeHalos(placed, cell, landscape, { scale, colours, chosen })];
  const layout = {
    showlegend: false,
    xaxis: makeAxis(cell.x, zoom.x ?? whole),
    yaxis: cell.y ? makeAxis(cell.y, zoom.y ?? whole) : { ...makeValueAxis(landscape, scale), ...(zoom.y ? { range: zoom.y } : {}) },
    shapes: hasGround && cell.y ? makeHatches(colours) : [],
  };
  return { traces: [...ground, ...marks], layout };
};
