// Speaks tus 1.0.0 with the daemon. What goes wrong is Lost (the connection, or a daemon
// that starts anew: worth another try) or Refused (the daemon says why).
const SILENT = 60000;

export class Lost extends Error {}

export class Refused extends Error {
  constructor(status, problem, headers) {
    super(problem.detail ?? `The server answered ${status}.`);
    this.status = status;
    this.hint = problem.what_to_do ?? "";
    this.ours = "detail" in problem;
    this.wait = 1000 * (Number(headers("Retry-After")) || 0);
    this.moved = headers("Upload-Offset") !== null;
  }

  // Another try later may go well without anybody doing something.
  get passing() {
    return [408, 409, 423, 429, 460, 500, 502, 503, 504].includes(this.status);
  }
}

function encoded(text) {
  const bytes = new TextEncoder().encode(text);
  return btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
}

export class Tus {
  constructor(prefix, csrf) {
    this.root = `${prefix}/api/v1`;
    this.csrf = csrf;
  }

  // Begins an upload and returns what the daemon tells of it.
  async begin(length, metadata, signal) {
    const pairs = Object.entries(metadata).map(([key, value]) => `${key} ${encoded(value)}`);
    const headers = { "Upload-Length": String(length), "Upload-Metadata": pairs.join(",") };
    const answer = await this.ask("POST", "/uploads", { headers, signal });
    return answer.json();
  }

  // Returns how many bytes have come, null if there is no such upload.
  async offset(id, signal) {
    try {
      const answer = await this.ask("HEAD", `/uploads/${id}`, { signal });
      return Number(answer.headers.get("Upload-Offset"));
    } catch (error) {
      if (error instanceof Refused && [404, 410].includes(error.status)) {
        return null;
      }
      throw error;
    }
  }

  async look(id, signal) {
    return (await this.ask("GET", `/uploads/${id}`, { signal })).json();
  }

  // Returns the unfinished ones; ``silent`` is for how many seconds nothing came. The
  // clock is the daemon's: ours may be another.
  async mine() {
    const answer = await this.ask("GET", "/uploads", {});
    const now = Date.parse(answer.headers.get("Date")) / 1000;
    const { uploads } = await answer.json();
    return uploads.map((one) => ({ ...one, silent: Math.max(0, now - one.last_byte_at) }));
  }

  async end(id) {
    await this.ask("DELETE", `/uploads/${id}`, {});
  }

  // Takes the mark of the session as it is now; true if it is another than before.
  async refresh() {
    const me = await (await this.ask("GET", "/me", {})).json();
    const changed = me.csrf !== this.csrf;
    this.csrf = me.csrf;
    return changed;
  }

  async get(path) {
    return (await this.ask("GET", path, {})).json();
  }

  async ask(method, path, { headers = {}, signal }) {
    const given = { accept: "application/json", "Tus-Resumable": "1.0.0", "X-CSRF-Token": this.csrf };
    let answer;
    try {
      answer = await fetch(this.root + path, { method, headers: { ...given, ...headers }, signal, cache: "no-store" });
    } catch (error) {
      throw error.name === "AbortError" ? error : new Lost(error.message);
    }
    if (!answer.ok) {
      const problem = await answer.json().catch(() => ({}));
      throw new Refused(answer.status, problem, (name) => answer.headers.get(name));
    }
    return answer;
  }

  // Sends bytes from an offset on and returns the next; fetch would tell no progress.
  send(id, offset, bytes, signal, moved) {
    return new Promise((resolve, reject) => {
      const request = new XMLHttpRequest();
      let guard = 0;
      const alive = () => {
        clearTimeout(guard);
        guard = setTimeout(() => request.abort(), SILENT);
      };
      request.open("PATCH", `${this.root}/uploads/${id}`);
      request.setRequestHeader("Tus-Resumable", "1.0.0");
      request.setRequestHeader("X-CSRF-Token", this.csrf);
      request.setRequestHeader("Upload-Offset", String(offset));
      request.setRequestHeader("Content-Type", "application/offset+octet-stream");
      request.upload.addEventListener("progress", (event) => {
        alive();
        moved(offset + event.loaded);
      });
      const leave = () => request.abort();
      signal.addEventListener("abort", leave);
      request.addEventListener("loadend", () => {
        clearTimeout(guard);
        signal.removeEventListener("abort", leave);
        if (signal.aborted) {
          reject(new DOMException("stopped", "AbortError"));
        } else if (request.status === 204) {
          resolve(Number(request.getResponseHeader("Upload-Offset")));
        } else if (request.status === 0) {
          reject(new Lost("the connection was lost"));
        } else {
          reject(new Refused(request.status, read(request.responseText), (name) => request.getResponseHeader(name)));
        }
      });
      alive();
      request.send(bytes);
    });
  }
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
