// Tables that people sort: what plots show, for those who read rather than look.

import { make } from "./dom.js";
import { formatCount } from "./format.js";

const compare = (a, b) => {
  if (a === b) return 0;
  if (a === null || a === undefined) return 1; // what is not there comes last
  if (b === null || b === undefined) return -1;
  if (typeof a === "number" && typeof b === "number") return a - b;
  return String(a).localeCompare(String(b));
};

/**
 * A table of which the first rows are shown, sorted by any column.
 * @param {{caption: string, columns: {title: string, value: function(any): any, show: function(any): (Node|string), number?: boolean}[], items: any[], most?: number}} what
 * @returns {HTMLElement}
 */
export const makeTable = ({ caption, columns, items, most = 50 }) => {
  const headings = columns.map((column) => {
    const button = make("button", { type: "button", class: "sorter" }, column.title);
    return { button, element: make("th", { scope: "col", class: column.number ? "number" : null }, button) };
  });
  const body = make("tbody");
  const more = make("p", { class: "quiet small" });
  let order = { column: null, turned: false };

  const fill = () => {
    const { column, turned } = order;
    const sorted = column === null ? items : items.toSorted((a, b) => (turned ? -1 : 1) * compare(columns[column].value(a), columns[column].value(b)));
    const rows = sorted.slice(0, most).map((item) =>
      make(
        "tr",
        {},
        ...columns.map((own, place) => make(place ? "td" : "th", { scope: place ? null : "row", class: own.number ? "number" : null }, own.show(item))),
      ),
    );
    body.replaceChildren(...rows);
    more.textContent = items.length > most ? `The first ${most} of ${formatCount(items.length)} rows in this order.` : "";
    headings.forEach(({ element }, place) => {
      if (place === column) element.setAttribute("aria-sort", turned ? "descending" : "ascending");
      else element.removeAttribute("aria-sort");
    });
  };

  headings.forEach(({ button }, place) =>
    button.addEventListener("click", () => {
      order = { column: place, turned: order.column === place && !order.turned };
      fill();
    }),
  );
  fill();
  const table = make("table", {}, make("caption", { class: "hidden-text" }, caption), make("thead", {}, make("tr", {}, ...headings.map(({ element }) => element))), body);
  const region = make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": caption }, table);
  return make("div", { class: "sortable" }, region, more);
};
