// Uploads that were begun before and not finished: here, in another browser, or by curl.
// Some may be coming in just now, in another tab or from elsewhere.
import { size, span } from "./drop-words.js";
import { Refused } from "./drop-tus.js";

const AGAIN = 5000;

export class Before {
  constructor(section, tus, kept, queue) {
    Object.assign(this, { section, tus, kept, queue });
    this.uploads = [];
    this.timer = 0;
    this.template = document.getElementById("drop-before-row");
    section.addEventListener("click", (event) => {
      const row = event.target.closest("button")?.closest("li");
      if (row) {
        this.discard(row);
      }
    });
  }

  async load() {
    clearTimeout(this.timer);
    let found = [];
    try {
      found = await this.tus.mine();
    } catch {
      // What stands here is a help; the daemon's absence is told elsewhere.
      return;
    }
    this.kept.keepOnly(found.map((one) => one.id));
    // Of those without a byte nothing is lost when they are begun anew.
    this.uploads = this.others(found.filter((one) => one.offset));
    this.draw();
    if (this.uploads.some((one) => one.receiving)) {
      this.timer = setTimeout(() => this.load(), AGAIN);
    }
  }

  others(uploads) {
    const here = new Set([...this.queue.items.values()].map((item) => item.id));
    return uploads.filter((one) => !here.has(one.id));
  }

  // Those that go on here now are shown among the others.
  soon() {
    const left = this.others(this.uploads);
    if (left.length !== this.uploads.length) {
      this.uploads = left;
      this.draw();
    }
  }

  draw() {
    const list = this.section.querySelector("ul");
    list.replaceChildren(...this.uploads.slice(0, 50).map((one) => this.row(one)));
    this.section.hidden = !this.uploads.length;
  }

  row(upload) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    row.upload = upload;
    row.querySelector("[data-name]").textContent = upload.path;
    const last = upload.receiving ? "just now: another tab or program may be sending it" : `${span(upload.silent)} ago`;
    row.querySelector("[data-size]").textContent = `${size(upload.offset)} of ${size(upload.length)} came, the last of it ${last}`;
    const bar = row.querySelector("progress");
    bar.value = upload.length ? upload.offset / upload.length : 0;
    bar.setAttribute("aria-label", `Came of ${upload.path}`);
    row.querySelector("button").setAttribute("aria-label", `Discard: ${upload.path}`);
    return row;
  }

  async discard(row) {
    const { upload } = row;
    try {
      await this.tus.end(upload.id);
    } catch (error) {
      if (![404, 409].includes(error.status)) {
        const why = error instanceof Refused ? error.message : "The daemon does not answer.";
        row.querySelector("[data-size]").textContent = `It was not discarded. ${why}`;
        return;
      }
    }
    this.uploads = this.uploads.filter((one) => one.id !== upload.id);
    this.draw();
  }
}
