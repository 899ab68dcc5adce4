// Follows what was asked of the servers until it is done or refused.

import { ask } from "./api.js";
import { make } from "./dom.js";

const FIRST_WAIT = 500;
const LONGEST_WAIT = 4000;
/** After so long without a server that takes it, people are told what may be missing. */
const PATIENCE = 15000;

const WORDS = {
  waiting: "Waiting for a server to take it.",
  taken: "A server is doing it.",
  done: "Done.",
  refused: "Refused.",
};

const sleep = (milliseconds) => new Promise((wake) => setTimeout(wake, milliseconds));

const describe = (request, waited) => {
  if (request.message) return request.message;
  if (request.state === "waiting" && waited > PATIENCE) {
    return "No server has taken it yet. It is kept; a server takes it once one runs: adai-study serve";
  }
  return WORDS[request.state];
};

/** How a request fares; unchanged where no answer comes for a moment. */
const askAgain = async (request) => {
  try {
    return await ask("GET", `/v1/requests/${request.id}`);
  } catch (error) {
    if (error.status === 0 || error.status >= 500) return request;
    throw error;
  }
};

/**
 * Show a request: its state, and its message where it has one.
 * @param {Element} place What it held is replaced.
 * @param {{state: string, message: ?string}} request
 * @param {number} waited Milliseconds since it was made.
 */
export const showRequest = (place, request, waited = 0) => {
  const kind = request.state === "refused" ? "error" : "note";
  const state = make("span", { class: "state", "data-state": request.state }, request.state);
  const text = describe(request, waited);
  if (place.dataset.told === request.state + text) return;
  place.dataset.told = request.state + text;
  place.replaceChildren(make("div", { class: "box", "data-kind": kind }, make("p", {}, state), make("p", {}, text)));
};

/**
 * Ask for something that a server does, and show how it fares until it has ended.
 * @param {string} path Such as /v1/studies/NAME/cancel.
 * @param {Element} place Where it is shown; a live region.
 * @param {unknown=} body
 * @returns {Promise<{id: number, study: string, state: "done"|"refused", message: ?string}>}
 * @throws {ApiError} It was not accepted, or the person is signed out.
 */
export const order = async (path, place, body) => {
  let request = await ask("POST", path, { body });
  const began = Date.now();
  for (let wait = FIRST_WAIT; request.state === "waiting" || request.state === "taken"; wait = Math.min(1.5 * wait, LONGEST_WAIT)) {
    showRequest(place, request, Date.now() - began);
    await sleep(wait);
    request = await askAgain(request);
  }
  showRequest(place, request);
  return request;
};
