// Brings files to the daemon, a few at once, each to its end whatever happens between.
import { Lost, Refused } from "./drop-tus.js";
import { nameOf } from "./drop-words.js";

const AT_ONCE = 3;
const CHUNK = 8 * 1024 * 1024;
const LEAST_CHUNK = 256 * 1024;
// Smaller ones are sent anew sooner than they are looked for.
const WORTH_KEEPING = 1024 * 1024;
const MOST_TRIES = 6;
const LONGEST = 30000;
const GONE = "The file changed or cannot be read any more on your computer.";

export class Queue {
  constructor(tus, link, kept, { changed, landed }) {
    Object.assign(this, { tus, link, kept, changed, landed });
    this.items = new Map();
    this.waiting = [];
    this.active = new Map();
    this.chunk = CHUNK;
    this.last = 0;
  }

  add({ file, path, print, zone, collection, metadata }) {
    const key = ++this.last;
    const item = { key, file, path, print, zone, collection, metadata, size: file.size };
    Object.assign(item, { state: "waiting", id: null, sent: 0, known: 0, base: 0, sure: false, why: "", hint: "", running: null });
    Object.assign(item, { upload: null, job: null, finding: null });
    this.items.set(key, item);
    this.waiting.push(item);
    this.changed(item);
    this.pump();
  }

  // Returns what is on its way already.
  held() {
    const on = [...this.items.values()].filter((item) => !["landed", "failed"].includes(item.state));
    return new Set(on.map(whole));
  }

  pause(item) {
    if (this.moving(item)) {
      this.take(item);
      this.put(item, "paused");
      this.pump();
    }
  }

  resume(item) {
    if (["paused", "failed"].includes(item.state)) {
      this.put(item, "waiting", "", "");
      this.waiting.unshift(item);
      this.pump();
    }
  }

  // Ends an upload; what came of it is removed.
  async cancel(item) {
    this.take(item);
    this.forget(item);
    await item.running;
    this.kept.remove(item.print);
    if (item.id && item.state !== "landed") {
      await this.end(item.id);
    }
  }

  forget(item) {
    this.items.delete(item.key);
    this.changed(item);
    this.pump();
  }

  moving(item) {
    return ["waiting", "sending", "lost"].includes(item.state);
  }

  // Inside

  // What goes wrong while somebody stops an upload is not told.
  tell(item, signal, ...told) {
    if (!signal.aborted) {
      this.put(item, ...told);
    }
  }

  put(item, state, why = item.why, hint = item.hint) {
    Object.assign(item, { state, why, hint });
    this.changed(item);
  }

  // So many bytes the daemon has; what is on its way to it does not count yet.
  reached(item, offset) {
    item.sent = offset;
    item.known = offset;
    this.changed(item);
  }

  take(item) {
    this.active.get(item)?.abort();
    this.active.delete(item);
    const place = this.waiting.indexOf(item);
    if (place >= 0) {
      this.waiting.splice(place, 1);
    }
  }

  pump() {
    while (this.active.size < AT_ONCE && this.waiting.length) {
      const item = this.waiting.shift();
      const stopping = new AbortController();
      this.active.set(item, stopping);
      // One that was stopped just now comes to its end first.
      const before = item.running ?? Promise.resolve();
      item.running = before.then(() => this.run(item, stopping.signal)).finally(() => {
        if (this.active.get(item) === stopping) {
          this.active.delete(item);
        }
        this.pump();
      });
    }
  }

  async run(item, signal) {
    let tries = 0;
    while (!signal.aborted) {
      const before = item.known;
      try {
        this.put(item, "sending", "", "");
        await this.bring(item, signal);
        return;
      } catch (error) {
        item.sure = false;
        tries = item.known > before ? 0 : tries + 1;
        if (!signal.aborted) {
          await this.afterwards(item, error, tries, signal);
        }
      }
      if (item.state === "failed") {
        return;
      }
    }
  }

  async bring(item, signal) {
    await this.find(item, signal);
    if (!item.id) {
      await this.begin(item);
      signal.throwIfAborted();
    }
    const moved = (sent) => {
      item.sent = sent;
      this.changed(item);
    };
    while (item.sent < item.size) {
      const part = item.file.slice(item.sent, item.sent + this.chunk);
      this.reached(item, await this.tus.send(item.id, item.sent, part, signal, moved));
    }
    item.upload = await this.tus.look(item.id, signal);
    if (item.upload.state !== "landed") {
      // All came, but it could not be put into input/ then.
      await this.tus.send(item.id, item.size, new Blob(), signal, () => {});
      item.upload = await this.tus.look(item.id, signal);
    }
    this.kept.remove(item.print);
    item.file = null;
    this.put(item, "landed");
    this.landed(item);
  }

  // Finds out how far it is, if it was begun: here, or before the page was left.
  async find(item, signal) {
    if (item.sure) {
      return;
    }
    if (!item.id) {
      const told = this.kept.get(item.print);
      const fits = told && told.zone === item.zone && ["", told.collection].includes(item.collection);
      item.id = fits ? told.id : null;
    }
    if (item.id) {
      const offset = await this.tus.offset(item.id, signal);
      if (offset === null) {
        this.kept.remove(item.print);
        item.id = null;
      }
      if (item.sent === 0) {
        item.base = offset ?? 0;
      }
      this.reached(item, offset ?? 0);
      item.sure = true;
    }
  }

  async begin(item) {
    const metadata = {
      relativePath: item.path,
      filename: nameOf(item.path),
      zone: item.zone,
      mtime: (item.file.lastModified / 1000).toFixed(3),
      ...(item.collection && { collection: item.collection }),
      ...(Object.keys(item.metadata).length && { metadata: JSON.stringify(item.metadata) }),
    };
    item.upload = await this.tus.begin(item.size, metadata);
    item.id = item.upload.id;
    this.reached(item, 0);
    item.sure = true;
    if (item.size > WORTH_KEEPING) {
      this.kept.set(item.print, { id: item.id, zone: item.zone, collection: item.collection });
    }
  }

  // Waits until it is worth another try; the state "failed" says that it is not.
  async afterwards(item, error, tries, signal) {
    if (error instanceof Lost) {
      if (!(await readable(item.file))) {
        this.tell(item, signal, "failed", GONE, "Choose it again.");
        return;
      }
      this.tell(item, signal, "lost", "The connection was lost.");
      await this.link.restored();
      await pause(tries > 1 ? backoff(tries) : 0, signal);
    } else if (error instanceof Refused) {
      await this.refused(item, error, tries, signal);
    } else {
      console.error(error);
      this.tell(item, signal, "failed", "This page made a fault.", "Load it again, and choose the file again.");
    }
  }

  async refused(item, error, tries, signal) {
    if (error.status === 401) {
      this.tell(item, signal, "lost", "The session has ended.");
      await this.link.restored();
    } else if (error.status === 403 && (await this.marked())) {
      // The session is a new one; the next request has its mark.
    } else if (error.status === 413 && !error.ours && this.chunk > LEAST_CHUNK) {
      // A proxy on the way takes no bodies as large as that.
      this.chunk /= 2;
    } else if (error.status === 404 && item.id && tries < MOST_TRIES) {
      // It ended meanwhile: from the beginning.
      item.id = null;
      this.reached(item, 0);
    } else if (error.passing && (tries < MOST_TRIES || [423, 429, 502, 503, 504].includes(error.status))) {
      this.tell(item, signal, "lost", error.message);
      await pause(error.moved ? 0 : error.wait || backoff(tries), signal);
    } else {
      this.tell(item, signal, "failed", error.message, error.hint);
    }
  }

  // Returns whether the mark of the session is another one now.
  async marked() {
    try {
      return await this.tus.refresh();
    } catch (error) {
      if (error instanceof Lost || error instanceof Refused) {
        await this.link.restored();
        return true;
      }
      throw error;
    }
  }

  async end(id) {
    for (let tries = 1; tries < MOST_TRIES; tries += 1) {
      try {
        await this.tus.end(id);
        return;
      } catch (error) {
        if (!(error instanceof Lost) && ![401, 403, 423].includes(error.status)) {
          return;
        }
        await this.link.restored();
        await pause(backoff(tries));
      }
    }
  }
}

// Names a file and where it goes.
export function whole({ zone, collection, print }) {
  return `${zone}/${collection}/${print}`;
}

function backoff(tries) {
  return Math.min(LONGEST, 300 * 2 ** tries) * (0.75 + Math.random() / 2);
}

function pause(time, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, time);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}

async function readable(file) {
  try {
    await file.slice(0, 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}
