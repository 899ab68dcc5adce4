// Numbers, durations and counts as pages/formats.py writes them.

const NONE = "\u2013";
const MINUS = "\u2212";
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const trim = (text) => (text.includes(".") ? text.replace(/\.?0+$/, "") : text);

const write = (value, keepZeros) => {
  if (value === 0) return "0";
  const size = Math.abs(value);
  const [mantissa, exponent] = size.toExponential(3).split("e");
  const power = Number(exponent);
  const plain = power >= -4 && power < 6;
  const number = plain ? size.toFixed(Math.max(3 - power, 0)) : mantissa;
  const text = keepZeros ? number : trim(number);
  return (value < 0 ? MINUS : "") + text + (plain ? "" : `e${power < 0 ? MINUS : ""}${Math.abs(power)}`);
};

/** A measured number: 4 significant digits, zeros at its end among them. @param {?number} value @returns {string} */
export const formatNumber = (value) => (isNumber(value) ? write(value, true) : NONE);

/** A chosen value, such as a hyperparameter. @param {?(number|boolean|string)} value @returns {string} */
export const formatValue = (value) => {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  return isNumber(value) ? write(value, false) : NONE;
};

/** A count, such as 12,345. @param {?number} count @returns {string} */
export const formatCount = (count) =>
  isNumber(count) ? count.toLocaleString("en-US").replace("-", MINUS) : NONE;

/** A share of 1 in percent. @param {?number} share @returns {string} */
export const formatShare = (share) => {
  if (!isNumber(share)) return NONE;
  const percent = 100 * share;
  if (percent > 0 && percent < 1) return "<1 %";
  return `${percent > 99 ? Math.floor(percent) : Math.floor(percent + 0.5)} %`;
};

/** A duration in its two largest units. @param {?number} seconds @returns {string} */
export const formatDuration = (seconds) => {
  if (!isNumber(seconds)) return NONE;
  if (seconds < 1) return "<1 s";
  const left = Math.round(seconds);
  const place = UNITS.findIndex(([size]) => left >= size);
  const [size, unit] = UNITS[place];
  const finer = UNITS[place + 1];
  const rest = finer ? Math.floor((left % size) / finer[0]) : 0;
  return `${Math.floor(left / size)} ${unit}${rest ? ` ${rest} ${finer[1]}` : ""}`;
};

/** A rate given per second. @param {?number} rate @returns {string} */
export const formatRate = (rate) => {
  if (!isNumber(rate)) return NONE;
  const [factor, unit] = [[1, "s"], [60, "min"], [3600, "h"]].find(([by, name]) => rate * by >= 1 || name === "h");
  return `${(rate * factor).toFixed(rate * factor < 100 ? 1 : 0)} trials/${unit}`;
};

/** A point in time to the minute, UTC. @param {?string} at ISO 8601 @returns {string} */
export const formatTime = (at) =>
  at === null ? NONE : new Date(at).toISOString().slice(0, 16).replace("T", " ");

/** What a problem says, where it stands alone. @param {string} text @returns {string} */
export const formatSentence = (text) => {
  const begun = text.slice(0, 1).toUpperCase() + text.slice(1);
  return begun === "" || ".!?:`".includes(begun.at(-1)) || begun.includes(": ") ? begun : `${begun}.`;
};

/** A count with its noun. @param {number} count @param {string} one @param {string=} many @returns {string} */
export const formatThings = (count, one, many = `${one}s`) => `${formatCount(count)} ${count === 1 ? one : many}`;
