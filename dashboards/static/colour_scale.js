// The one colour scale of all maps of a landscape, and its bar.

import { formatTick, makeValueTicks } from "./scales.js";

// Viridis turned round, cividis and reds, as the reports have them: perceptually uniform, and read with any colour vision.
const MAPS = {
  goodness: ["#fde725", "#bddf26", "#7ad151", "#44bf70", "#22a884", "#21908d", "#2a788e", "#355f8d", "#414487", "#482475", "#440154"],
  spread: ["#00224e", "#083370", "#35456c", "#4f576c", "#666970", "#7d7c78", "#948e77", "#aea371", "#c8b866", "#e5cf52", "#fee838"],
  diverged: ["#fff5f0", "#fee5d8", "#fdcab5", "#fcab8f", "#fc8a6a", "#fb694a", "#f14432", "#d92523", "#bc141a", "#980c13", "#67000d"],
};
const [DARK, LIGHT] = ["#14181d", "#ffffff"];
const SVG = "http://www.w3.org/2000/svg";

const mapOf = (metric) => (metric === "sd" ? MAPS.spread : metric === "divergence" ? MAPS.diverged : MAPS.goodness);

/**
 * The scale of a landscape.
 * @param {{metric: string, low: ?number, high: ?number, is_log: boolean}} landscape
 * @returns {{low: number, high: number, isLog: boolean, stops: Array<[number, string]>, place: function(?number): ?number, contrast: function(?number): string}}
 *   `place` is where a number stands on the scale that Plotly is given: itself, or its logarithm. `contrast` is a
 *   colour that stands off its own.
 */
export const makeScale = ({ metric, low, high, is_log: isLog }) => {
  const [from, to] = low === null || high === null ? [0, 1] : low < high ? [low, high] : [low - 0.5, low + 0.5];
  const logarithmic = isLog && from > 0;
  const colours = mapOf(metric);
  const place = (value) => (value === null ? null : logarithmic ? Math.log10(Math.max(value, from)) : value);
  return {
    low: from,
    high: to,
    isLog: logarithmic,
    stops: colours.map((colour, place) => [place / (colours.length - 1), colour]),
    place,
    contrast: (value) => {
      const share = value === null ? 0 : (place(value) - place(from)) / (place(to) - place(from));
      const colour = colours[Math.round(Math.min(Math.max(share, 0), 1) * (colours.length - 1))];
      return lightness(colour) > 0.45 ? DARK : LIGHT;
    },
  };
};

/** How light a colour is, from 0 to 1. */
const lightness = (colour) => {
  const [red, green, blue] = [1, 3, 5].map((start) => parseInt(colour.slice(start, start + 2), 16) / 255);
  return 0.299 * red + 0.587 * green + 0.114 * blue;
};

const makeSvg = (name, attributes, text) => {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
};

/**
 * Draw the bar of a scale.
 * @param {SVGElement} svg What it held is replaced.
 * @param {object} scale As makeScale gives it.
 * @param {string} title What the colours mean.
 */
export const drawBar = (svg, scale, title) => {
  const [width, height] = [320, 12];
  const gradient = makeSvg("linearGradient", { id: "bar-colours" });
  for (const [offset, colour] of scale.stops) gradient.append(makeSvg("stop", { offset, "stop-color": colour }));
  const bar = makeSvg("rect", { x: 12, y: 0, width, height, rx: 2, fill: "url(#bar-colours)" });
  const [low, high] = [scale.place(scale.low), scale.place(scale.high)];
  const ticks = makeValueTicks(scale.low, scale.high, scale.isLog).map((value) => {
    const x = 12 + (width * (scale.place(value) - low)) / (high - low);
    const tick = makeSvg("g", { transform: `translate(${x} ${height})` });
    tick.append(makeSvg("line", { y2: 4 }), makeSvg("text", { y: 17, "text-anchor": "middle" }, formatTick(value)));
    return tick;
  });
  svg.setAttribute("viewBox", `0 0 ${width + 24} 34`);
  svg.setAttribute("aria-label", `${title}: from ${formatTick(Number(scale.low.toPrecision(3)))} to ${formatTick(Number(scale.high.toPrecision(3)))}${scale.isLog ? ", logarithmic" : ""}`);
  svg.replaceChildren(gradient, bar, ...ticks);
};
