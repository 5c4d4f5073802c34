// All files together: how far, how fast, how long still; and what is said aloud of them.
import { groupOf, keepFocus } from "./drop-list.js";
import { ended, files, nameOf, shown, size, span, stateOf } from "./drop-words.js";

const EVERY = 500;
// Speed is told of the last so many milliseconds.
const WINDOW = 6000;
// Not oftener than that somebody is interrupted.
const QUIET = 4000;
// So many sentences are said one by one.
const FEW = 4;

export class Sum {
  constructor(root, queue, act) {
    Object.assign(this, { root, queue });
    this.card = root.querySelector("#drop-all");
    this.title = root.querySelector("#drop-all-title");
    this.bar = root.querySelector("#drop-bar");
    this.text = root.querySelector("#drop-sum");
    this.heard = root.querySelector("#drop-heard");
    this.buttons = [...root.querySelectorAll("[data-all]")];
    this.gathering = 0;
    this.timer = 0;
    this.seen = [];
    this.speeds = new Map();
    this.said = 0;
    this.toSay = [];
    this.saying = 0;
    this.groups = new Map();
    this.card.addEventListener("click", (event) => {
      const button = event.target.closest("[data-all]");
      if (button) {
        act(button.dataset.all);
      }
    });
  }

  adding(step) {
    this.gathering += step;
    this.soon();
  }

  soon(item) {
    if (item) {
      this.notice(item);
    }
    this.timer ||= setTimeout(() => this.draw(), EVERY);
  }

  // Says what ended, file by file while there are few.
  notice(item) {
    const now = this.queue.items.has(item.key) ? `${groupOf(item)} ${item.state === "landed" ? (item.job?.outcome ?? "") : ""}` : "gone";
    const before = this.groups.get(item.key);
    this.groups.set(item.key, now);
    if (before === undefined || before === now || now === "gone") {
      return;
    }
    const name = shown(nameOf(item.path));
    if (now.startsWith("bad")) {
      this.hear(`${name} failed: ${item.why || item.job?.error_message || item.finding?.reason || ""}`, true);
    } else if (before.startsWith("busy") && now.startsWith("good")) {
      this.hear(`${name} is uploaded.`);
    }
  }

  hear(sentence, bad = false) {
    this.toSay.push({ sentence, bad });
    this.saying ||= setTimeout(() => this.say(), Math.max(EVERY, this.said + QUIET - Date.now()));
  }

  // When there is much to say, what failed and how far all is must do.
  say() {
    this.saying = 0;
    this.said = Date.now();
    const few = this.toSay.length <= FEW;
    const some = few ? this.toSay : this.toSay.filter(({ bad }) => bad).slice(-FEW);
    const sentences = some.map(({ sentence }) => sentence);
    this.heard.textContent = (few ? sentences : [...sentences, `${this.title.textContent}.`]).join(" ");
    this.toSay = [];
  }

  draw() {
    this.timer = 0;
    const items = [...this.queue.items.values()];
    const count = (wanted) => items.filter(wanted).length;
    const told = {
      all: items.length,
      up: count((item) => item.state === "landed"),
      failed: count((item) => item.state === "failed"),
      paused: count((item) => item.state === "paused"),
      moving: count((item) => this.queue.moving(item)),
      ended: count(ended),
      stuck: count((item) => item.finding),
    };
    this.root.classList.toggle("begun", items.length > 0);
    this.show(items.length > 0 || this.gathering > 0);
    const title = this.headline(told);
    if (this.title.textContent !== title) {
      this.title.textContent = title;
      if (told.all && !told.moving && !this.gathering) {
        this.hear(`${title}.`);
      }
    }
    this.measure(items, told);
    const useful = { pause: told.moving, resume: told.paused, again: told.failed, cancel: told.moving + told.paused, clear: told.up + told.failed && !told.moving };
    const active = document.activeElement;
    for (const button of this.buttons) {
      button.hidden = !useful[button.dataset.all];
    }
    if (this.buttons.includes(active)) {
      keepFocus(active, this.card);
    }
    if (told.moving) {
      this.soon();
    }
  }

  // On a phone it would begin below what is seen.
  show(wanted) {
    const come = wanted && this.card.hidden;
    this.card.hidden = !wanted;
    if (come) {
      this.card.scrollIntoView({ block: "nearest" });
    }
  }

  headline({ all, up, failed, paused, moving }) {
    if (this.gathering) {
      return `Looking for files: ${files(all)} so far`;
    }
    const but = failed ? `, ${failed} not` : "";
    if (moving) {
      return `${up.toLocaleString("en")} of ${files(all)} uploaded${but}`;
    }
    if (paused) {
      return `Paused; ${up.toLocaleString("en")} of ${files(all)} uploaded${but}`;
    }
    return failed ? `${files(up)} uploaded${but}` : `${all === 1 ? "The file is" : `All ${files(all)} are`} uploaded`;
  }

  measure(items, told) {
    let sent = 0;
    let whole = 0;
    for (const item of items) {
      const done = item.state === "landed" ? item.size : item.sent;
      sent += done;
      whole += item.state === "failed" ? done : item.size;
    }
    const now = performance.now();
    const speed = this.speed(items, now);
    this.bar.value = whole ? sent / whole : told.moving ? 0 : 1;
    const parts = [`${size(sent)} of ${size(whole)}`];
    if (told.moving && speed > 0) {
      parts.push(`${size(speed)}/s`, `about ${span((whole - sent) / speed)} left`);
    }
    if (!told.moving && told.up) {
      const waiting = told.up - told.ended - told.stuck;
      parts.push(...outcomes(items), ...(waiting > 0 ? [`${files(waiting)} still under way`] : []));
    }
    this.text.textContent = parts.join(", ");
  }

  // Returns bytes a second: of all here, and of each file in its item. What had come
  // before the page was opened does not count.
  speed(items, now) {
    const came = (item) => (item.state === "landed" ? item.size : item.sent) - item.base;
    const sending = items.filter((item) => item.state === "sending");
    const total = items.reduce((sum, item) => sum + came(item), 0);
    this.seen.push({ at: now, total, of: new Map(sending.map((item) => [item, came(item)])) });
    while (this.seen.length > 2 && now - this.seen[0].at > WINDOW) {
      this.seen.shift();
    }
    const first = this.seen[0];
    const seconds = (now - first.at) / 1000;
    if (seconds < EVERY / 2000) {
      return 0;
    }
    for (const item of sending) {
      item.speed = Math.max(0, came(item) - (first.of.get(item) ?? 0)) / seconds;
    }
    return Math.max(0, total - first.total) / seconds;
  }
}

function outcomes(items) {
  const counts = new Map();
  for (const item of items.filter(ended)) {
    const [word] = stateOf(item);
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return [...counts].map(([word, number]) => `${number.toLocaleString("en")} ${word}`);
}
