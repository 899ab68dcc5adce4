// Draws with Plotly in the colours of the page, from this server alone. The policy of the pages needs no exception for
// it: what Plotly would write as a style element stands in study.css, style attributes are set as properties, and traces
// that need WebGL, which compiles code from text, are not used.

import { onThemeChange, readColours } from "./colours.js";

/** Beside colours: what tells optimizers apart. Places count in the study's order. */
const LINES = ["solid", "dash", "dashdot", "dot", "longdash", "longdashdot", "5px,2px,1px,2px", "2px,6px"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "pentagon", "star"];

/** @param {number} place @param {object} colours As readColours gives them. @returns {{colour: string, line: string, symbol: string}} */
export const lookOf = (place, colours) => {
  const count = colours.series.length;
  const turned = place + Math.floor(place / count);
  return { colour: colours.series[place % count], line: LINES[turned % LINES.length], symbol: SYMBOLS[turned % SYMBOLS.length] };
};

/** A colour of readColours with an opacity. @param {string} colour @param {number} opacity @returns {string} */
export const fade = (colour, opacity) => {
  const numbers = colour.match(/[\d.]+/g).slice(0, 3);
  return `rgba(${numbers.join(",")},${opacity})`;
};

/** Plotly reads HTML-like marks in texts: what comes from a study is no mark. @param {string} text @returns {string} */
export const escapeText = (text) => String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");

let loading = null;

/** Plotly brings the style of its street maps, which are not used here, unless an element has this id. */
const STREET_MAPS = "9f215cf04c5486422605d13261cb87401f4e7763b6296af81e98efbc0130da53";

/**
 * Let style attributes of pictures be set as scripts may set them: the policy of the pages forbids attributes as text,
 * which Plotly writes, and allows the properties, which are the same to the browser.
 */
const allowStyles = () => {
  SVGElement.prototype.setAttribute = function setAttribute(name, value) {
    if (name === "style") this.style.cssText = value;
    else Element.prototype.setAttribute.call(this, name, value);
  };
  const maps = document.createElement("span");
  maps.id = STREET_MAPS;
  maps.hidden = true;
  document.body.append(maps);
};

/** Load Plotly, once. @returns {Promise<object>} */
export const loadPlotly = () => {
  if (!loading) allowStyles();
  loading ??= new Promise((done, fail) => {
    const script = document.createElement("script");
    script.src = document.getElementById("plotly").href;
    script.addEventListener("load", () => done(globalThis.Plotly));
    script.addEventListener("error", () => fail(new Error("the program that draws plots did not load; load the page again")));
    document.head.append(script);
  });
  return loading;
};

const isTouched = () => matchMedia("(pointer: coarse)").matches;

const CONFIG = {
  displaylogo: false,
  doubleClick: "reset",
  modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  toImageButtonOptions: { format: "png", scale: 2 },
};

const axisLook = (colours) => ({
  linecolor: colours.line,
  gridcolor: colours.line,
  zerolinecolor: colours.line,
  tickcolor: colours.line,
  ticks: "outside",
  ticklen: 4,
  automargin: true,
  title: { font: { size: 13 }, standoff: 8 },
});

/** A logarithmic axis with plain numbers at its ticks: 1, 2, 5, or powers of ten. @param {?number[]} values @returns {object} */
export const logTicks = (values) => {
  const known = values.filter((value) => value > 0);
  const decades = Math.log10(Math.max(...known) / Math.min(...known));
  return { type: "log", dtick: decades > 2.5 ? 1 : "D2", tickformat: "~g", minor: { showgrid: false } };
};

/** An axis of epochs: no ticks between two of them. @param {number[]} epochs @returns {object} */
export const epochTicks = (epochs) => (Math.max(...epochs) <= 8 ? { dtick: 1 } : {});

const merge = (base, own) => {
  const merged = { ...base };
  for (const [key, value] of Object.entries(own)) {
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    merged[key] = isObject ? merge(base[key] ?? {}, value) : value;
  }
  return merged;
};

const layoutOf = (own, colours) => {
  const base = {
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.text },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 56, r: 12, t: 12, b: 44 },
    hovermode: "closest",
    hoverlabel: { bgcolor: colours.panel, bordercolor: colours.quiet, font: { color: colours.text, size: 12 }, align: "left" },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: colours.quiet, activecolor: colours.accent },
    // A finger that slides over a plot scrolls the page.
    dragmode: isTouched() ? false : "zoom",
    xaxis: axisLook(colours),
    yaxis: axisLook(colours),
  };
  return merge(base, own);
};

/**
 * A plot that follows the colours of the page and the size of its place.
 * @param {HTMLElement} place Where it is drawn; its size is that of its style.
 * @param {string} name Of the file that people save.
 * @param {function(object): {traces: object[], layout: object}} build Makes it, given the colours.
 * @returns {Promise<{draw: function(): Promise<void>, on: function(string, function(any): void): void, hover: function(object[]): void}>}
 */
export const makePlot = async (place, name, build) => {
  const Plotly = await loadPlotly();
  const config = merge(CONFIG, { toImageButtonOptions: { filename: name }, displayModeBar: isTouched() ? false : "hover" });
  const draw = async () => {
    const colours = readColours();
    const { traces, layout } = build(colours);
    await Plotly.react(place, traces, layoutOf(layout, colours), config);
    // Who hears a page is told what is drawn by the words and the table beside it, not by the ticks of the axes.
    place.querySelectorAll(".main-svg").forEach((drawing) => drawing.setAttribute("aria-hidden", "true"));
  };
  await draw();
  onThemeChange(draw);
  new ResizeObserver(() => place.clientWidth && Plotly.Plots.resize(place)).observe(place);
  return {
    draw,
    on: (event, handle) => place.on(event, handle),
    hover: (points) => (points.length ? Plotly.Fx.hover(place, points) : Plotly.Fx.unhover(place)),
    relayout: (change) => Plotly.relayout(place, change),
  };
};
