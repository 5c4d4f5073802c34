// The list of files grows at its end and stays live; ids and keys can be copied.
import { tellTimes } from "./times.js";

const MOST_OFTEN = 2000;
const RESTING = 1500;
const MOST_PAGES = 40;
const MOST_AT_ONCE = 10;
const MOST_ROWS = 1000;

const list = document.getElementById("list");
let more = document.getElementById("more");
let loading = false;
let wanted = false;
let refreshing = false;
let pointed = 0;

// Each page of the list: where it comes from, and the id with which it ends.
const pages = [];

function say(words) {
  document.getElementById("heard").textContent = words;
}

async function load(url) {
  const answer = await fetch(url, { headers: { accept: "text/html" } });
  if (!answer.ok || answer.redirected) {
    throw new Error(`answer ${answer.status}`);
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  tellTimes(page);
  return page;
}

const rowsOf = (page) => page.querySelector("[data-rows]");
const keyOf = (row) => row.dataset.key;
const shown = () => list.querySelectorAll("[data-rows] > [data-key]").length;
const ending = (page) => (page.querySelector("#more a") ? keyOf(rowsOf(page).lastElementChild) : "");

function remember(rows, url, end) {
  pages.push({ rows, url, end });
}

// Older files, when the end comes near.

async function loadMore() {
  const link = more?.querySelector("a");
  if (!link || loading) {
    return false;
  }
  loading = true;
  link.setAttribute("aria-busy", "true");
  try {
    const page = await load(link.href);
    const rows = rowsOf(page);
    const before = shown();
    if (rows) {
      const known = new Set([...list.querySelectorAll("[data-key]")].map(keyOf));
      remember(rows, link.href, ending(page));
      [...rows.children].filter((row) => known.has(keyOf(row))).forEach((row) => row.remove());
      list.insertBefore(rows, more);
    }
    const focused = document.activeElement === link;
    const next = page.getElementById("more");
    if (next) {
      more.replaceWith(next);
      more = next;
      watchEnd();
    } else {
      more.remove();
      more = null;
    }
    if (focused && rows) {
      rows.querySelector("a")?.focus({ preventScroll: true });
    }
    say(`${shown() - before} older files came, ${shown()} are shown.`);
    return true;
  } catch {
    // The link stays, and works without this script.
    link.removeAttribute("aria-busy");
    return false;
  } finally {
    loading = false;
    soon();
  }
}

const end = new IntersectionObserver(
  (entries) => entries.some((entry) => entry.isIntersecting) && loadMore(),
  { rootMargin: "600px" },
);

function watchEnd() {
  end.disconnect();
  if (more?.querySelector("a")) {
    end.observe(more);
  }
}

// What changed in the pages that can be seen, and what is new at the top.

function soon() {
  if (!wanted || refreshing || loading || document.hidden) {
    return;
  }
  refreshing = true;
  setTimeout(refresh, MOST_OFTEN);
}

async function refresh() {
  // Nothing moves under a hand that is about to click.
  if (performance.now() - pointed < RESTING || loading) {
    setTimeout(refresh, RESTING);
    return;
  }
  wanted = false;
  try {
    for (const page of pages.filter((one) => one === pages[0] || isSeen(one.rows) || underWay(one.rows).length)) {
      await refreshOne(page);
    }
  } catch {
    // The page tells that the daemon is away; the next event asks again.
  }
  refreshing = false;
  soon();
}

async function refreshOne(page) {
  const first = await load(page.url);
  if (!rowsOf(first)) {
    return;
  }
  const fresh = [...rowsOf(first).children];
  let covered = ending(first);
  let link = first.querySelector("#more a");
  if (page === pages[0]) {
    // Many came at once: also what lies between them and those that are here, and what
    // was under way when it came.
    const newest = keyOf(page.rows.firstElementChild);
    const least = underWay(page.rows).map(keyOf).at(-1) ?? newest;
    for (let count = 0; covered > least && count < MOST_AT_ONCE; count += 1) {
      const next = await load(link.href);
      if (!rowsOf(next)) {
        break;
      }
      fresh.push(...rowsOf(next).children);
      covered = ending(next);
      link = next.querySelector("#more a");
    }
    if (covered > newest || page.rows.children.length > MOST_ROWS) {
      startAnew(await load(page.url));
      return;
    }
  }
  keepPlace(() => renew(page, fresh, covered));
}

// A list that is left open does not grow for ever; who reads further down is left alone.
function startAnew(page) {
  if (scrollY > innerHeight) {
    wanted = true;
    return;
  }
  list.querySelectorAll("[data-rows]").forEach((rows) => rows.remove());
  pages.length = 0;
  remember(rowsOf(page), location.href, ending(page));
  const next = page.getElementById("more");
  list.append(pages[0].rows, next);
  more?.remove();
  more = next;
  watchEnd();
}

const underWay = (rows) => [...rows.children].filter((row) => row.querySelector(".tag.busy, .tag.warn"));

function isSeen(rows) {
  const box = rows.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
}

// Ids fall with age, so that the place of each row is known. What came covers the ids
// from `covered` on; what fits no more, as it went on to another state, leaves.
function renew(page, fresh, covered) {
  const inside = fresh.filter((row) => keyOf(row) >= page.end);
  const last = covered > page.end ? covered : page.end;
  const kept = new Set(inside.map(keyOf));
  const hand = document.activeElement?.closest("li");
  for (const row of [...page.rows.children]) {
    if (keyOf(row) >= last && !kept.has(keyOf(row)) && row !== hand) {
      row.remove();
    }
  }
  let came = 0;
  for (const row of inside) {
    const known = page.rows.querySelector(`[data-key="${keyOf(row)}"]`);
    if (known) {
      renewRow(known, row);
    } else if (!list.querySelector(`[data-key="${keyOf(row)}"]`)) {
      row.classList.add("fresh");
      const after = [...page.rows.children].find((one) => keyOf(one) < keyOf(row));
      page.rows.insertBefore(row, after ?? null);
      came += 1;
    }
  }
  if (came) {
    say(came === 1 ? "1 new file." : `${came} new files.`);
  }
}

function renewRow(old, fresh) {
  // The link itself stays, and so does the focus on it.
  const [link, come] = [old.querySelector("a"), fresh.querySelector("a")];
  if (link.innerHTML !== come.innerHTML) {
    link.replaceChildren(...come.childNodes);
  }
}

// At the very top new files push the others down; elsewhere all stays where it is.
function keepPlace(change) {
  const rows = [...list.querySelectorAll("[data-rows] > [data-key]")];
  const held = scrollY > 0 && rows.find((row) => row.getBoundingClientRect().bottom > 80);
  const before = held ? held.getBoundingClientRect().top : 0;
  change();
  if (held?.isConnected) {
    scrollBy({ top: held.getBoundingClientRect().top - before, behavior: "instant" });
  }
}

// Who comes back from a file finds the list as it was left.

function leave() {
  const row = [...list.querySelectorAll("[data-rows] > [data-key]")].find(
    (one) => one.getBoundingClientRect().bottom > 80,
  );
  if (row && scrollY > 0) {
    const place = { key: keyOf(row), top: row.getBoundingClientRect().top };
    history.replaceState({ ...history.state, place }, "");
  }
}

async function comeBack() {
  const place = history.state?.place;
  const [how] = performance.getEntriesByType("navigation");
  if (!place || how?.type !== "back_forward") {
    return;
  }
  const find = () => list.querySelector(`[data-key="${place.key}"]`);
  for (let count = 0; !find() && count < MOST_PAGES; count += 1) {
    if (!(await loadMore())) {
      break;
    }
  }
  const row = find();
  if (row) {
    scrollBy({ top: row.getBoundingClientRect().top - place.top, behavior: "instant" });
  }
}

async function watchList() {
  const rows = rowsOf(document);
  if (list.dataset.first === "yes" && !rows) {
    // Nothing is here yet: the first file brings the list.
    document.addEventListener("dropzone:overview", lookForFirst);
    return;
  }
  if (!rows) {
    return;
  }
  history.scrollRestoration = "manual";
  remember(rows, location.href, ending(document));
  addEventListener("pagehide", leave);
  list.addEventListener("pointermove", () => (pointed = performance.now()));
  await comeBack();
  watchEnd();
  document.addEventListener("dropzone:overview", () => {
    wanted = true;
    soon();
  });
  document.addEventListener("visibilitychange", soon);
}

async function lookForFirst() {
  const page = await load(location.href).catch(() => null);
  if (page?.querySelector("[data-rows]")) {
    location.reload();
  }
}

// Copying.

async function copy(button) {
  const source = document.getElementById(button.dataset.copy);
  getSelection().selectAllChildren(source);
  try {
    await navigator.clipboard.writeText(source.textContent.trim());
    say("Copied.");
  } catch {
    // Without TLS on another machine there is no clipboard: it is selected at least.
    say("Selected: copy it with the keyboard.");
  }
}

// Style sheets show the buttons only then.
document.documentElement.classList.add("scripts");
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) {
    copy(button);
  }
});
if (list) {
  watchList();
}
