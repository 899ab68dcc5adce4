// What a form shows stands in the address of the page, so that a view can be shared and gone back to.

const fields = (form) => [...form.elements].filter((field) => field.name && field.name !== "slider" && !["checkbox", "submit", "fieldset"].includes(field.type));
const boxes = (form) => [...form.querySelectorAll('input[type="checkbox"]')];

/**
 * Fill a form from the address; what stands not there is as usual: `data-usual`, or as the page came.
 * @param {HTMLFormElement} form
 */
export const readView = (form) => {
  const address = new URLSearchParams(location.search);
  for (const field of fields(form)) {
    const usual = field.dataset.usual ?? "";
    field.value = address.get(field.name) ?? usual;
    if (field.tagName === "SELECT" && field.selectedIndex < 0) field.value = usual;
  }
  for (const box of boxes(form)) {
    const chosen = address.getAll(box.name);
    box.checked = chosen.length ? chosen.includes(box.value) : box.defaultChecked && !(box.value === "no");
    if (box.value === "no") box.checked = !chosen.includes("no");
  }
};

/**
 * The address of what a form says; what goes without saying is left out.
 * @param {HTMLFormElement} form
 * @param {Object<string, ?string>} more Further parameters, left out where they are null.
 * @returns {string}
 */
export const addressOf = (form, more = {}) => {
  const view = new URLSearchParams();
  for (const field of fields(form)) if (field.value !== (field.dataset.usual ?? "")) view.set(field.name, field.value);
  const optimizers = boxes(form).filter((box) => box.name === "optimizer");
  if (optimizers.some((box) => !box.checked)) for (const box of optimizers) if (box.checked) view.append("optimizer", box.value);
  for (const box of boxes(form)) {
    if (box.name !== "optimizer" && box.checked !== (box.value === "no")) view.set(box.name, box.value);
  }
  for (const [name, value] of Object.entries(more)) if (value !== null) view.set(name, value);
  const text = view.toString();
  return text ? `?${text}` : location.pathname;
};
