// Shows the files in three lists: what is under way, what needs somebody, what arrived.
// However many there are, only some are shown.
import { ended, nameOf, shown, size, span, stateOf } from "./drop-words.js";

const STEPS = 4;
const FEW = 25;
const MORE = 100;
const MOST_OFTEN = 200;
const ORDER = { sending: 0, lost: 1, paused: 2, waiting: 3 };

export function groupOf(item) {
  if (item.state === "failed" || item.finding || item.job?.status === "failed") {
    return "bad";
  }
  return item.state === "landed" ? "good" : "busy";
}

// Who works by the keyboard stays where he was, though the button may be gone.
export function keepFocus(active, within) {
  if (active === document.activeElement && seen(active)) {
    return;
  }
  const near = [active, ...within.querySelectorAll("button, a[href]")].find(seen);
  (near ?? document.getElementById("drop-choose")).focus({ preventScroll: true });
}

function seen(element) {
  return element.isConnected && element.checkVisibility();
}

export class List {
  constructor(root, template, { prefix, items, act }) {
    Object.assign(this, { template, prefix, items, act });
    this.rows = new Map();
    this.changed = new Set();
    this.planned = false;
    this.groups = [...root.querySelectorAll("[data-group]")].map((section) => ({
      section,
      name: section.dataset.group,
      list: section.querySelector("ul"),
      count: section.querySelector("[data-count]"),
      more: section.querySelector("[data-more]"),
      most: FEW,
    }));
    for (const group of this.groups) {
      group.more.addEventListener("click", () => {
        group.most += MORE;
        this.draw();
      });
    }
    root.addEventListener("click", (event) => {
      const button = event.target.closest("button[data-act]");
      const row = button?.closest("li");
      if (row) {
        this.act(button.dataset.act, row.item);
      }
    });
  }

  // Draws soon; many changes are drawn at once.
  soon(item) {
    if (item) {
      this.changed.add(item);
    }
    if (!this.planned) {
      this.planned = true;
      setTimeout(() => this.draw(), MOST_OFTEN);
    }
  }

  draw() {
    this.planned = false;
    const active = document.activeElement;
    const within = active.closest("li.upload");
    const found = { busy: [], bad: [], good: [] };
    for (const item of this.items.values()) {
      found[groupOf(item)].push(item);
    }
    found.busy.sort((one, other) => ORDER[one.state] - ORDER[other.state] || one.key - other.key);
    found.good.reverse();
    const drawn = new Set();
    for (const group of this.groups) {
      const all = found[group.name];
      const some = all.slice(0, group.most);
      some.forEach((item) => drawn.add(item));
      this.fill(group, some);
      group.section.hidden = !all.length;
      group.count.textContent = all.length.toLocaleString("en");
      group.more.hidden = all.length <= some.length;
      group.more.textContent = `Show more; ${(all.length - some.length).toLocaleString("en")} are not shown`;
    }
    for (const [item, row] of this.rows) {
      if (!drawn.has(item)) {
        row.remove();
        this.rows.delete(item);
      }
    }
    this.changed.clear();
    if (within) {
      keepFocus(active, within);
    }
  }

  fill(group, items) {
    items.forEach((item, index) => {
      let row = this.rows.get(item);
      if (!row) {
        row = this.make(item);
      } else if (this.changed.has(item)) {
        tell(row, item, this.prefix);
      }
      if (group.list.children[index] !== row) {
        group.list.insertBefore(row, group.list.children[index] ?? null);
      }
    });
  }

  make(item) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.item = item;
    this.rows.set(item, row);
    const name = shown(nameOf(item.path));
    const words = document.createElement("bdi");
    words.textContent = name;
    row.querySelector("[data-name]").append(words);
    for (const button of row.querySelectorAll("[data-act]")) {
      label(button, button.textContent.trim(), item);
    }
    row.querySelector("progress").setAttribute("aria-label", `Uploaded of ${name}`);
    tell(row, item, this.prefix);
    return row;
  }
}

function tell(row, item, prefix) {
  const [word, tone, steps] = stateOf(item);
  const tag = row.querySelector(".tag");
  tag.className = `tag ${tone}`;
  tag.textContent = word;
  const bar = row.querySelector("progress");
  bar.hidden = item.state === "landed" || (!item.sent && item.state !== "sending");
  bar.value = item.size ? item.sent / item.size : 0;
  row.querySelector("[data-where]").textContent = where(item);
  row.querySelector("[data-size]").textContent = more(item);
  const why = row.querySelector("[data-why]");
  why.textContent = reason(item);
  why.hidden = !why.textContent;
  why.className = tone === "bad" ? "upload-why bad" : "upload-why";
  const track = row.querySelector(".track");
  track.hidden = item.state !== "landed" || ended(item);
  [...track.children].forEach((step, index) => step.classList.toggle("done", index < Math.min(steps, STEPS)));
  if (item.job) {
    row.querySelector("a").href = `${prefix}/files/${item.job.id}`;
  }
  const moving = ["waiting", "sending", "lost"].includes(item.state);
  const useful = { pause: moving, resume: item.state === "paused", again: item.state === "failed", cancel: item.state !== "landed" };
  for (const button of row.querySelectorAll("[data-act]")) {
    button.hidden = !useful[button.dataset.act];
    if (button.dataset.act === "cancel") {
      label(button, item.state === "failed" ? "Leave out" : "Cancel", item);
    }
  }
  row.querySelector(".buttons").hidden = item.state === "landed";
}

function label(button, word, item) {
  button.querySelector("span").textContent = word;
  button.setAttribute("aria-label", `${word}: ${shown(nameOf(item.path))}`);
}

function where(item) {
  if (item.upload) {
    return `input/${item.upload.path}`;
  }
  return shown(["input", item.collection, item.path].filter(Boolean).join("/"));
}

function more(item) {
  if (item.state === "landed" || !item.sent) {
    return size(item.size);
  }
  const told = `${size(item.sent)} of ${size(item.size)}`;
  const left = item.speed > 0 && item.state === "sending" ? (item.size - item.sent) / item.speed : 0;
  return left > 3 ? `${told}, ${span(left)} left` : told;
}

function reason(item) {
  if (item.finding) {
    return `It ${item.finding.reason}. ${item.finding.hint}`;
  }
  if (item.job) {
    return [item.job.error_message, item.job.outcome === "failed" && item.job.what_to_do].filter(Boolean).join(" ");
  }
  return [item.why, item.hint].filter(Boolean).join(" ");
}
