// Asks the API, as the person who is signed in; what it refuses becomes an error that says what was wrong.

import { make } from "./dom.js";
import { formatSentence } from "./format.js";

/** An answer that is an error: RFC 9457's fields, and each mistake where there are several. */
export class ApiError extends Error {
  /** @param {number} status 0 where no answer came. @param {{title?: string, detail?: string, problems?: string[]}} problem */
  constructor(status, { title = `Error ${status}`, detail = "", problems = [] }) {
    super(detail || title);
    this.name = "ApiError";
    this.status = status;
    this.title = title;
    this.detail = detail;
    this.problems = problems;
  }
}

const csrfToken = () => document.querySelector('meta[name="csrf-token"]').content;

/**
 * Ask the API.
 * @param {"GET"|"POST"|"DELETE"} method
 * @param {string} path Such as /v1/studies.
 * @param {{body?: unknown, signal?: AbortSignal}} options The body is sent as JSON.
 * @returns {Promise<any>} The answer; null where it has no content.
 * @throws {ApiError} It was refused, or did not come; an aborted one throws an AbortError.
 */
export const ask = async (method, path, { body, signal } = {}) => {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = csrfToken();
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method, headers, signal, credentials: "same-origin", body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, { title: "No answer", detail: "the dashboard cannot be reached; is it running, and is the network up?" });
  }
  if (!answer.ok) throw new ApiError(answer.status, await readProblem(answer));
  return answer.status === 204 ? null : answer.json();
};

const readProblem = async (answer) => {
  if (answer.status === 401) return { title: "Signed out", detail: "your session has ended; load the page again to sign in" };
  try {
    return await answer.json();
  } catch {
    return { title: `Error ${answer.status}`, detail: answer.statusText };
  }
};

/**
 * Show an error in a place of its own.
 * @param {Element} place What it held is replaced; it should be a live region, or take the focus.
 * @param {Error} error
 */
export const showError = (place, error) => {
  const problems = error.problems ?? [];
  const list = make("ul", {}, ...problems.map((problem) => make("li", {}, problem)));
  place.replaceChildren(
    make(
      "div",
      { class: "box", "data-kind": "error" },
      make("p", { class: "box-title" }, error.title ?? "Something went wrong"),
      ...(error.message && error.message !== error.title ? [make("p", {}, formatSentence(error.message))] : []),
      ...(problems.length ? [list] : []),
    ),
  );
};
