// The colours of the style sheet for what draws by itself, such as Plotly, and when they change.

const NAMES = ["ground", "panel", "text", "quiet", "line", "accent", "good", "bad", "caution"];

/**
 * Colours as they are now.
 * @returns {Object<string, string|string[]>} Name of a token -> "rgb(...)"; `series` has one for each optimizer, in turn.
 */
export const readColours = () => {
  const probe = document.createElement("span");
  probe.hidden = true;
  document.body.append(probe);
  const read = (token) => {
    probe.style.color = `var(--${token})`; // a computed colour is resolved, a custom property is not
    return getComputedStyle(probe).color;
  };
  const colours = Object.fromEntries(NAMES.map((name) => [name, read(name)]));
  colours.series = Array.from({ length: 8 }, (_, place) => read(`series-${place + 1}`));
  probe.remove();
  return colours;
};

/** Call when light turns dark or back. @param {function(): void} draw */
export const onThemeChange = (draw) => addEventListener("themechange", draw);
