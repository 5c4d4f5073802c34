// Which file belongs to which unfinished upload, over the end of the browser. A file is
// known by its name, size, time and place in its folder; its bytes are not looked at.
const MARK = "dropzone:upload:";
// What another page of ours began just now may be missing in the list that we got.
const FRESH = 60000;

export function printOf(file, path) {
  return JSON.stringify([path, file.size, file.lastModified]);
}

export class Kept {
  constructor(prefix) {
    this.mark = `${MARK}${prefix}:`;
  }

  get(print) {
    try {
      return JSON.parse(localStorage.getItem(this.mark + print));
    } catch {
      return null;
    }
  }

  set(print, told) {
    try {
      localStorage.setItem(this.mark + print, JSON.stringify({ ...told, at: Date.now() }));
    } catch {
      // It is full or forbidden: the upload goes well without, it cannot be resumed.
    }
  }

  remove(print) {
    try {
      localStorage.removeItem(this.mark + print);
    } catch {
      // As above.
    }
  }

  // Forgets uploads that the daemon does not know any more.
  keepOnly(ids) {
    const known = new Set(ids);
    for (const key of this.keys()) {
      const told = this.get(key.slice(this.mark.length));
      if (!told || (!known.has(told.id) && Date.now() - told.at > FRESH)) {
        localStorage.removeItem(key);
      }
    }
  }

  clear() {
    this.keys().forEach((key) => localStorage.removeItem(key));
  }

  keys() {
    try {
      return Object.keys(localStorage).filter((key) => key.startsWith(this.mark));
    } catch {
      return [];
    }
  }
}
