// Follows files from input/ to their end: a page of jobs at a time, for all of them.
import { ended } from "./drop-words.js";

const LIMIT = 200;
const SOON = 1200;
const RARELY = 15000;
// The file is in input/ a moment before that is noted, and may be taken in it.
const SLACK = 5;

export class Arrivals {
  constructor(tus, changed) {
    Object.assign(this, { tus, changed });
    this.items = new Set();
    this.taken = new Set();
    this.cursor = null;
    this.since = 0;
    this.wait = SOON;
    this.timer = 0;
    this.before = 0;
    this.looking = false;
    document.addEventListener("dropzone:overview", ({ detail }) => this.told(detail));
    document.addEventListener("visibilitychange", () => this.soon());
  }

  add(item) {
    this.items.add(item);
    this.soon();
  }

  forget(item) {
    this.items.delete(item);
  }

  // What cannot be taken is told in the overview, and by no job.
  told(overview) {
    const found = new Map(
      overview.zones.flatMap((zone) => (zone.refused ?? []).map((one) => [`${zone.zone}/${one.path_quoted}`, one])),
    );
    for (const item of this.items) {
      const finding = found.get(place(item.upload)) ?? null;
      if ((finding === null) !== (item.finding === null)) {
        item.finding = finding;
        this.changed(item);
      }
    }
    this.soon();
  }

  soon() {
    this.wait = SOON;
    this.plan();
  }

  plan() {
    clearTimeout(this.timer);
    if (this.items.size && !this.looking && !document.hidden) {
      const left = this.before + this.wait - Date.now();
      this.timer = setTimeout(() => this.look(), Math.max(0, left));
    }
  }

  async look() {
    this.looking = true;
    this.before = Date.now();
    try {
      const moved = await this.page();
      this.wait = moved || this.cursor ? SOON : Math.min(RARELY, this.wait * 1.5);
    } catch {
      // The uploads or the page's own following tell that there is no connection.
      this.wait = RARELY;
      this.cursor = null;
    }
    this.looking = false;
    this.plan();
  }

  async page() {
    if (!this.cursor) {
      const first = Math.min(...[...this.items].map((item) => item.upload.landed_at));
      this.since = Math.max(0, first - SLACK);
    }
    const asked = new URLSearchParams({ limit: LIMIT, since: this.since });
    if (this.cursor) {
      asked.set("cursor", this.cursor);
    }
    const { jobs, next } = await this.tus.get(`/jobs?${asked}`);
    this.cursor = next;
    return this.match(jobs);
  }

  match(jobs) {
    const byJob = new Map();
    const byPlace = new Map();
    for (const item of this.items) {
      const job = item.job?.id ?? item.upload.job;
      if (job) {
        byJob.set(job, item);
      } else {
        const of = byPlace.get(place(item.upload)) ?? [];
        byPlace.set(place(item.upload), [...of, item]);
      }
    }
    let moved = false;
    // The oldest first: of two files that had one name, each finds its own job.
    for (const job of jobs.reverse()) {
      const item = byJob.get(job.id) ?? this.firstAt(byPlace.get(place(job)), job);
      moved = (item && this.take(item, job)) || moved;
    }
    return moved;
  }

  firstAt(items, job) {
    if (!items || this.taken.has(job.id)) {
      return null;
    }
    const index = items.findIndex((item) => job.created_at >= item.upload.landed_at - SLACK);
    return index < 0 ? null : items.splice(index, 1)[0];
  }

  take(item, job) {
    const moved = item.job?.status !== job.status || item.job?.outcome !== job.outcome;
    this.taken.add(job.id);
    item.job = job;
    item.finding = null;
    if (ended(item)) {
      this.items.delete(item);
    }
    if (moved) {
      this.changed(item);
    }
    return moved;
  }
}

function place({ zone, path_quoted }) {
  return `${zone}/${path_quoted}`;
}
