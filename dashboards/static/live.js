// What happens now, from the server's events; the header says whether the page is up to date.

import { ask } from "./api.js";
import { make, write } from "./dom.js";

const FIRST_WAIT = 1000;
const LONGEST_WAIT = 30000;
/** Short gaps are not told: a proxy or the server may end a stream at any time, and the next one is there at once. */
const PATIENCE = 3000;

const WORDS = { live: "Live", reconnecting: "Reconnecting", away: "Database away" };

const tell = (state) => {
  const place = document.getElementById("live");
  place.hidden = false;
  if (place.dataset.state === state) return;
  place.dataset.state = state;
  if (state === "signed-out") {
    const here = encodeURIComponent(location.pathname + location.search);
    place.replaceChildren(make("a", { href: `/sign-in?next=${here}` }, "Signed out: sign in again"));
  } else {
    write(place, WORDS[state]);
  }
};

/**
 * Listen to events until the page is left. A hidden page does not listen: browsers allow few connections to a server.
 * @param {string} url Such as /v1/events.
 * @param {Object<string, function(any): void>} handlers Name of an event -> what is done with its data.
 * @param {function(): void} onOpen Called whenever events begin to come: what happened before may not be told.
 * @returns {{close: function(): void}}
 */
export const listen = (url, handlers, onOpen = () => {}) => {
  let source = null;
  let wait = FIRST_WAIT;
  let retry = 0;
  let doubt = 0;
  let closed = false;

  const stop = () => {
    source?.close();
    source = null;
    clearTimeout(retry);
  };

  const isSignedOut = async () => {
    try {
      await ask("GET", "/v1/me");
      return false;
    } catch (error) {
      return error.status === 401;
    }
  };

  const lose = async () => {
    // A source that is still connecting tries again by itself.
    if (!doubt) doubt = setTimeout(() => tell("reconnecting"), PATIENCE);
    if (source?.readyState !== EventSource.CLOSED) return;
    stop();
    if (await isSignedOut()) {
      closed = true;
      clearTimeout(doubt);
      tell("signed-out");
    } else if (!closed && !document.hidden) {
      retry = setTimeout(start, wait);
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
  };

  const start = () => {
    if (closed || source) return;
    source = new EventSource(url);
    source.addEventListener("open", () => {
      wait = FIRST_WAIT;
      clearTimeout(doubt);
      doubt = 0;
      tell("live");
      onOpen();
    });
    source.addEventListener("error", lose);
    source.addEventListener("database", (event) => tell(JSON.parse(event.data).reachable ? "live" : "away"));
    for (const [name, handle] of Object.entries(handlers)) {
      source.addEventListener(name, (event) => handle(JSON.parse(event.data)));
    }
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", start);
  if (!document.hidden) start();
  return {
    close: () => {
      closed = true;
      stop();
    },
  };
};
