"use strict";

// Fetches a part of the page again and again, and replaces those of its elements that have changed. An element with the
// focus is never replaced. What changed is said in words, to screen readers too.
//
//   [data-refresh]            what is refreshed: an address, whose answer is its new content; each child has an id
//   [data-refresh-seconds]    how often
//   [data-refresh-controls]   a button that pauses it, and an element with role=status
//   [data-spoken]             on children: what is said if it has changed
(() => {
  const region = document.querySelector("[data-refresh]");
  const controls = document.querySelector("[data-refresh-controls]");
  if (region === null || controls === null) {
    return;
  }
  const button = controls.querySelector("button");
  const status = controls.querySelector("[role=status]");
  const pause = 1000 * Number(region.dataset.refreshSeconds);
  const spokenAtOnce = 3;
  let timer;
  let isPaused = false;
  let isFetching = false;
  let hasEnded = false;

  const say = (text) => {
    if (status.textContent !== text) {
      status.textContent = text;
    }
  };

  const hasFocus = (element) => element.contains(document.activeElement);

  const spoken = (parent) =>
    new Map([...parent.querySelectorAll("[data-spoken]")].map((each) => [each.id, each.dataset.spoken]));

  const ids = (parent) => [...parent.children].map((each) => each.id).join(" ");

  const replace = (fresh) => {
    if (ids(fresh) !== ids(region)) {
      if (!hasFocus(region)) {
        region.replaceChildren(...fresh.childNodes);
      }
      return;
    }
    const news = [...fresh.children];
    [...region.children].forEach((old, place) => {
      if (!old.isEqualNode(news[place]) && !hasFocus(old)) {
        old.replaceWith(news[place]);
      }
    });
  };

  const announce = (before, after) => {
    const changed = [...after].filter(([id, text]) => before.get(id) !== text).map(([, text]) => text);
    const gone = [...before.keys()].filter((id) => !after.has(id)).length;
    if (changed.length > spokenAtOnce) {
      say(`${changed.length} entries have changed.`);
    } else if (changed.length > 0) {
      say(`Changed: ${changed.join(". ")}.`);
    } else if (gone > 0) {
      say(gone === 1 ? "1 entry is no longer there." : `${gone} entries are no longer there.`);
    } else if (status.dataset.failing !== undefined) {
      say("The page is up to date again.");
    }
    delete status.dataset.failing;
  };

  const fail = (text) => {
    status.dataset.failing = "";
    say(text);
  };

  const end = (text) => {
    hasEnded = true;
    button.hidden = true;
    fail(text);
  };

  const take = async (response) => {
    if (response.type === "opaqueredirect") {
      end("Your session has ended. Reload the page to sign in again.");
    } else if (response.ok) {
      const fresh = new DOMParser().parseFromString(await response.text(), "text/html").body;
      if (isPaused) {
        return;
      }
      const before = spoken(region);
      const after = spoken(fresh);
      replace(fresh);
      announce(before, after);
    } else if (response.status >= 500) {
      fail("The figures cannot be refreshed at the moment. Those below may be out of date.");
    } else {
      end("The figures are no longer refreshed. Reload the page to see why.");
    }
  };

  const refresh = async () => {
    clearTimeout(timer);
    if (isPaused || isFetching || hasEnded || document.hidden) {
      return;
    }
    isFetching = true;
    try {
      await take(await fetch(region.dataset.refresh, { redirect: "manual", signal: AbortSignal.timeout(15000) }));
    } catch {
      fail("The server cannot be reached. The figures below may be out of date.");
    }
    isFetching = false;
    schedule();
  };

  const schedule = () => {
    clearTimeout(timer);
    if (!isPaused && !hasEnded && !document.hidden) {
      timer = setTimeout(refresh, pause);
    }
  };

  button.addEventListener("click", () => {
    isPaused = !isPaused;
    button.setAttribute("aria-pressed", String(isPaused));
    say(isPaused ? "Updates are paused." : "Updates go on.");
    if (isPaused) {
      clearTimeout(timer);
    } else {
      refresh();
    }
  });
  document.addEventListener("visibilitychange", refresh);
  controls.hidden = false;
  schedule();
})();
