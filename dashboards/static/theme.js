"use strict";
// Light, dark, or as the system says. Loaded before the page is drawn, so that it never flashes in the other colours.
(() => {
  const KEY = "adai-theme";
  const WORDS = { system: "System colours", light: "Light", dark: "Dark" };
  const ORDER = Object.keys(WORDS);

  const read = () => {
    try {
      const kept = localStorage.getItem(KEY);
      return ORDER.includes(kept) ? kept : "system";
    } catch {
      return "system"; // storage may be forbidden
    }
  };

  const keep = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // It holds for this page only.
    }
  };

  const root = document.documentElement;
  const apply = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (button) {
      button.hidden = false;
      button.dataset.shows = theme;
      button.setAttribute("aria-label", `Colours: ${WORDS[theme]}. Change`);
      button.title = `Colours: ${WORDS[theme]}`;
    }
    dispatchEvent(new CustomEvent("themechange"));
  };

  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    apply(read());
    document.getElementById("theme").addEventListener("click", () => {
      const theme = ORDER[(ORDER.indexOf(read()) + 1) % ORDER.length];
      keep(theme);
      apply(theme);
    });
  });
  addEventListener("storage", (event) => event.key === KEY && apply(read()));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => apply(read()));
})();
