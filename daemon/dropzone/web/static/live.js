// Keeps a page up to date: the daemon tells that something changed, the regions marked
// data-live are loaded anew, and only what differs is replaced.
import { listen } from "./events.js";
import { tellTimes } from "./times.js";

const MOST_OFTEN = 2000;
const SPREAD = 300;
const BUSY = [429, 503];
const FAILED = /^\(\d+\) /;
let wanted = false;
let running = false;
let before = 0;
let words = "";
// Of what this page shows, as its first event may come long after it was made.
let known = "";
let away = false;
let me = "";

export function follow(prefix, worker) {
  known = document.querySelector('meta[name="dropzone"]').dataset.known ?? "";
  me = `${prefix}/api/v1/me`;
  const url = `${prefix}/api/v1/events`;
  if (window.SharedWorker) {
    const shared = new SharedWorker(worker, { type: "module" });
    const { port } = shared;
    // Its script did not come: the daemon may just have stopped.
    shared.onerror = () => followAlone(url);
    port.onmessage = ({ data }) => told(data);
    port.postMessage({ url });
    addEventListener("pagehide", () => port.postMessage({ leave: true }));
    addEventListener("pageshow", (event) => event.persisted && port.postMessage({ url }));
  } else {
    followAlone(url);
  }
  document.addEventListener("visibilitychange", refreshSoon);
  document.addEventListener("focusout", refreshSoon);
}

function followAlone(url) {
  let stop = null;
  let last = {};
  const tell = (message) => told((last = { ...last, ...message }));
  const look = () => {
    if (!document.hidden) {
      stop ??= listen(url, tell);
    } else if (stop) {
      stop();
      stop = null;
    }
  };
  document.addEventListener("visibilitychange", look);
  look();
}

function told(message) {
  document.getElementById("stale").hidden = !message.lost;
  document.documentElement.classList.toggle("live", !message.lost);
  if (message.lost) {
    away = true;
    seeWhetherLoggedOut();
  } else if (message.overview) {
    if (away) {
      away = false;
      renewMarks();
    }
    tellState(message.overview);
    document.dispatchEvent(new CustomEvent("dropzone:overview", { detail: message.overview }));
    if (message.id !== known) {
      wanted = true;
      refreshSoon();
    }
    known = message.id;
  }
}

// A daemon that was started again knows no sessions: it leads to the login.
async function seeWhetherLoggedOut() {
  try {
    const answer = await fetch(location.href, { method: "HEAD", headers: { accept: "text/html" } });
    if (answer.redirected) {
      logInAgain();
    }
  } catch {
    // It is away; the follower tries again.
  }
}

// It has other marks for forms, too; where it asks for no token nobody has to log in again.
async function renewMarks() {
  const answer = await fetch(me).catch(() => null);
  if (answer?.ok) {
    const { csrf } = await answer.json();
    document.querySelector('meta[name="dropzone"]').dataset.csrf = csrf;
    document.querySelectorAll('input[name="csrf"]').forEach((mark) => (mark.value = csrf));
  }
}

// A page that has something under way keeps itself from being left.
function logInAgain() {
  if (document.dispatchEvent(new Event("dropzone:out", { cancelable: true }))) {
    location.reload();
  }
}

function tellState(overview) {
  const failed = overview.zones.reduce((sum, zone) => sum + zone.failed, 0);
  const state = document.getElementById("state");
  const badge = document.getElementById("badge-failures");
  if (!state || !badge) {
    return;
  }
  state.className = `state ${overview.tone}`;
  document.getElementById("state-words").textContent = overview.word;
  badge.lastChild.textContent = String(failed);
  badge.hidden = !failed;
  document.title = (failed ? `(${failed}) ` : "") + document.title.replace(FAILED, "");
  if (words && overview.headline !== words) {
    document.getElementById("heard").textContent = overview.headline;
  }
  words = overview.headline;
}

function refreshSoon() {
  if (!wanted || running || document.hidden || !document.querySelector("[data-live]")) {
    return;
  }
  running = true;
  // Pages that hear of the same change do not all ask in the same moment.
  setTimeout(refresh, Math.max(0, before + MOST_OFTEN - Date.now()) + Math.random() * SPREAD);
}

async function refresh() {
  wanted = false;
  before = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.ok && !answer.redirected) {
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      document.querySelectorAll("[data-live]").forEach((region) => renew(region, page));
      document.title = (document.title.match(FAILED)?.[0] ?? "") + page.title;
    } else if (answer.redirected) {
      logInAgain();
    } else if (BUSY.includes(answer.status)) {
      wanted = true;
      setTimeout(refreshSoon, 1000 * (Number(answer.headers.get("Retry-After")) || 5));
    }
  } catch {
    // The follower tells that the daemon is away; the next event asks again.
    wanted = true;
  }
  running = false;
}

function renew(region, page) {
  const fresh = page.getElementById(region.id);
  if (!fresh) {
    return;
  }
  tellTimes(fresh);
  if (holdsHand(region)) {
    wanted = true;
  } else {
    merge(region, fresh);
  }
}

// A person types, or has chosen something: nothing is taken away under the hands.
function holdsHand(region) {
  const active = document.activeElement;
  return region.contains(active) && active.matches("input, textarea, select");
}

// Change only what differs, so that focus, open details and selections stay.
function merge(old, fresh) {
  if (old.isEqualNode(fresh)) {
    return;
  }
  const kept = [...old.children];
  const come = [...fresh.children];
  const plain = !kept.length || kept.length !== come.length || hasText(old) || hasText(fresh);
  if (old.tagName !== fresh.tagName || (plain && !keyed(kept, come))) {
    if (old.contains(document.activeElement) && old !== document.activeElement) {
      replaceKeepingFocus(old, fresh);
    } else {
      old.replaceChildren(...fresh.childNodes);
      copyAttributes(old, fresh);
    }
    return;
  }
  copyAttributes(old, fresh);
  if (keyed(kept, come)) {
    mergeKeyed(old, kept, come);
  } else {
    kept.forEach((child, index) => merge(child, come[index]));
  }
}

function keyed(kept, come) {
  return come.length > 0 && [...kept, ...come].every((child) => child.dataset?.key);
}

function mergeKeyed(parent, kept, come) {
  const byKey = new Map(kept.map((child) => [child.dataset.key, child]));
  come.forEach((child, index) => {
    const old = byKey.get(child.dataset.key);
    if (old) {
      byKey.delete(child.dataset.key);
      merge(old, child);
    }
    const place = old ?? child;
    if (parent.children[index] !== place) {
      parent.insertBefore(place, parent.children[index] ?? null);
    }
  });
  byKey.forEach((child) => child.remove());
}

function hasText(element) {
  return [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
}

function copyAttributes(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !(name === "open" && old.tagName === "DETAILS")) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !(name === "open" && old.tagName === "DETAILS")) {
      old.setAttribute(name, value);
    }
  }
}

function replaceKeepingFocus(old, fresh) {
  const active = document.activeElement;
  const places = [...old.querySelectorAll("a, button, summary")];
  const place = places.indexOf(active);
  old.replaceChildren(...fresh.childNodes);
  copyAttributes(old, fresh);
  [...old.querySelectorAll("a, button, summary")][place]?.focus({ preventScroll: true });
}
