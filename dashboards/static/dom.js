// Makes elements. Text stays text: nothing that comes from a study is ever read as HTML.

/**
 * An element.
 * @param {string} name Of the element.
 * @param {Object<string, string|number|boolean|null>} attributes Those that are false or null are left out.
 * @param {...(Node|string)} children Strings become text.
 * @returns {HTMLElement}
 */
export const make = (name, attributes = {}, ...children) => {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null) element.setAttribute(key, String(value));
  }
  element.append(...children);
  return element;
};

/** Write text where it changes; what is the same is left alone. @param {?Element} element @param {string} text */
export const write = (element, text) => {
  if (element && element.textContent !== text) element.textContent = text;
};

/** Show a state as the macro of the same name does. @param {?Element} element @param {string} word */
export const writeState = (element, word) => {
  if (!element) return;
  element.dataset.state = word;
  write(element, word);
};

/**
 * Say something in the corner of the page; screen readers read it when they are idle.
 * @param {string} text
 * @param {"note"|"caution"|"error"} kind Errors stay until they are closed, others for some seconds.
 */
export const notify = (text, kind = "note") => {
  const close = make("button", { type: "button", class: "plain", "aria-label": "Close" }, "\u00d7");
  const notice = make("div", { class: "box", "data-kind": kind }, make("p", {}, text), close);
  close.addEventListener("click", () => notice.remove());
  document.getElementById("notices").append(notice);
  if (kind !== "error") setTimeout(() => notice.remove(), 8000);
};

/** Put `text` where it can be pasted from, and say so on the button. @param {HTMLButtonElement} button @param {string} text */
export const copy = async (button, text) => {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Copy it by hand";
  }
  setTimeout(() => write(button, label), 2500);
};
