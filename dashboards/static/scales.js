// The axes of a search space: every axis is drawn from 0 to 1 on its own scale, with ticks at real values.

import { formatValue } from "./format.js";

const MOST_TICKS = 6;
const LOG = {
  to: (value) => Math.log10(value),
  from: (place) => 10 ** place,
};
const LOG1M = {
  to: (value) => -Math.log10(1 - value),
  from: (place) => 1 - 10 ** -place,
};
const LINEAR = { to: (value) => value, from: (place) => place };
const SCALES = { log: LOG, log1m: LOG1M, linear: LINEAR };

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

/**
 * Where a value lies on an axis.
 * @param {{low: ?number, high: ?number, scale: string, choices: any[]}} axis As the API has it.
 * @param {any} value
 * @returns {?number} From 0 to 1, in the middle of its band for a choice; null where it has no place.
 */
export const toUnit = (axis, value) => {
  if (axis.choices.length) {
    const place = axis.choices.indexOf(value);
    return place < 0 ? null : (place + 0.5) / axis.choices.length;
  }
  if (!isNumber(value)) return null;
  const { to } = SCALES[axis.scale];
  const place = (to(value) - to(axis.low)) / (to(axis.high) - to(axis.low));
  return Number.isFinite(place) ? place : null;
};

const fromUnit = (axis, place) => {
  const { to, from } = SCALES[axis.scale];
  return from(to(axis.low) + place * (to(axis.high) - to(axis.low)));
};

/** Round numbers from `low` to `high`, about `count` of them. */
const roundNumbers = (low, high, count) => {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => power * factor >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: Math.max(last - first + 1, 0) }, (_, place) => Number(((first + place) * step).toPrecision(12)));
};

/** 1, 2, 5 and powers of ten between two positive numbers: as many as can be read. */
const roundRatios = (low, high) => {
  const decades = Math.log10(high / low);
  if (decades < 0.7) return roundNumbers(low, high, 4);
  const parts = decades > 2.2 ? [1] : decades > 1.1 ? [1, 3] : [1, 2, 5];
  const values = [];
  for (let exponent = Math.floor(Math.log10(low)); exponent <= Math.ceil(Math.log10(high)); exponent += 1) {
    values.push(...parts.map((part) => Number((part * 10 ** exponent).toPrecision(12))));
  }
  return values.filter((value) => value >= low * (1 - 1e-9) && value <= high * (1 + 1e-9));
};

const findTicks = (axis, low, high) => {
  if (axis.scale === "log") return roundRatios(low, high);
  if (axis.scale === "log1m") return roundRatios(1 - high, 1 - low).map((rest) => Number((1 - rest).toPrecision(12))).reverse();
  const values = roundNumbers(low, high, 4);
  return axis.integer ? values.filter(Number.isInteger) : values;
};

const thin = (values) => {
  const step = Math.ceil(values.length / MOST_TICKS);
  return values.filter((_, place) => place % step === 0);
};

/** A number at an axis, as short as it can be: 0.001, 1e-5. @param {any} value @returns {string} */
export const formatTick = (value) => {
  if (!isNumber(value)) return formatValue(value);
  const plain = String(Number(value.toPrecision(6)));
  const size = Math.abs(value);
  const short = size !== 0 && (size < 1e-3 || size >= 1e5) ? value.toExponential().replace("e+", "e") : plain;
  return (short.length < plain.length ? short : plain).replace("-", value < 0 ? "\u2212" : "-");
};

/** A hyperparameter with the digits that tell 0.99999 from 1, as study/axis.py writes it. @param {any} value @returns {string} */
export const formatSetting = (value) => {
  if (!isNumber(value)) return typeof value === "boolean" ? String(value) : formatValue(value);
  const [mantissa, exponent] = value.toExponential(5).split("e");
  const power = Number(exponent);
  if (power >= -4 && power < 6) return String(Number(value.toPrecision(6)));
  return `${Number(mantissa)}e${power < 0 ? "-" : "+"}${String(Math.abs(power)).padStart(2, "0")}`;
};

/**
 * Ticks of a part of an axis.
 * @param {object} axis As the API has it.
 * @param {number} low From here, in [0, 1].
 * @param {number} high To here.
 * @returns {{tickvals: number[], ticktext: string[]}}
 */
export const makeTicks = (axis, low = 0, high = 1) => {
  const choices = axis.choices.length > 0;
  const [from, to] = [Math.max(low, 0), Math.min(high, 1)];
  let values = choices ? axis.choices : to > from ? thin(findTicks(axis, fromUnit(axis, from), fromUnit(axis, to))) : [];
  if (!choices && values.length < 2 && low <= 0 && high >= 1) values = [axis.low, axis.high];
  return { tickvals: values.map((value) => toUnit(axis, value)), ticktext: values.map(formatTick) };
};

/** What stands at an axis. @param {object} axis @returns {string} */
export const titleOf = (axis) =>
  ({ log: `${axis.name} (log)`, log1m: `${axis.name} (log of 1 \u2212 ${axis.name})` })[axis.scale] ?? axis.name;

/**
 * Ticks of measured numbers on a linear or logarithmic axis.
 * @param {number} low @param {number} high @param {boolean} isLog
 * @returns {number[]}
 */
export const makeValueTicks = (low, high, isLog) => {
  if (!(high > low)) return [low];
  return thin(isLog ? roundRatios(low, high) : roundNumbers(low, high, 5));
};
