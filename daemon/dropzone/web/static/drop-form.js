// Where the files go, and what is said about them.
import { LeaveOut } from "./drop-gather.js";

const KNOWN = "Single files go to the collection \u201cdefault\u201d; a folder becomes the collection of its name.";
const LONGEST = 255;

export class Form {
  constructor(root) {
    this.field = root.querySelector("#drop-collection");
    this.zones = root.querySelector("#drop-zone");
    this.goes = root.querySelector("#drop-goes");
    this.rows = root.querySelector("#drop-metadata");
    this.row = document.getElementById("drop-metadata-row");
    this.ignored = JSON.parse(root.dataset.ignored);
    this.known = new Set([...root.querySelectorAll("#drop-collections option")].map((one) => one.value));
    const more = root.querySelector("#drop-metadata-add");
    more.addEventListener("click", () => this.add().querySelector("input").focus());
    this.field.addEventListener("input", () => this.tell());
    this.zones.addEventListener("change", () => this.tell());
    this.rows.addEventListener("click", (event) => {
      if (event.target.closest("button")) {
        event.target.closest("p").remove();
        more.focus();
      }
    });
    this.add();
    this.tell();
  }

  zone() {
    return this.zones.value;
  }

  // Returns what tells the names that the zone leaves alone.
  leavingOut() {
    return new LeaveOut(this.ignored[this.zone()] ?? []);
  }

  add() {
    this.rows.append(this.row.content.cloneNode(true));
    return this.rows.lastElementChild;
  }

  tell() {
    const name = this.collection();
    const wrong = this.wrong(name);
    this.field.setCustomValidity(wrong);
    this.field.setAttribute("aria-invalid", String(Boolean(wrong)));
    this.goes.classList.toggle("bad", Boolean(wrong));
    if (wrong || !name) {
      this.goes.textContent = wrong || KNOWN;
    } else {
      const kind = this.known.has(name) ? "the collection" : "the new collection";
      this.goes.textContent = `They go to ${kind} \u201c${name}\u201d; folders stay folders in it.`;
    }
  }

  collection() {
    return this.field.value.trim();
  }

  wrong(name) {
    if (name.includes("/")) {
      return "A collection is one folder: its name has no slash.";
    }
    if (name.startsWith(".")) {
      return "A collection does not begin with a dot: such folders are left alone.";
    }
    if (name && this.leavingOut().names(name)) {
      return "Folders with a name like this are left alone, as temporary ones are.";
    }
    const long = new TextEncoder().encode(name).length > LONGEST;
    return long ? `The name is too long: a folder's has ${LONGEST} bytes at most.` : "";
  }

  // Returns what is to be done with the files added now, null if that has to be mended.
  read() {
    const collection = this.collection();
    this.tell();
    if (!this.field.reportValidity()) {
      return null;
    }
    const metadata = Object.create(null);
    for (const row of this.rows.children) {
      const [name, value] = row.querySelectorAll("input");
      name.setCustomValidity(value.value.trim() ? this.wrongName(name.value.trim(), metadata) : "");
      if (!name.checkValidity()) {
        this.rows.closest("details").open = true;
        name.reportValidity();
        return null;
      }
      if (value.value.trim()) {
        metadata[name.value.trim()] = value.value.trim();
      }
    }
    return { zone: this.zone(), collection, metadata };
  }

  wrongName(name, said) {
    if (!name) {
      return "What is it that you say? Give it a name.";
    }
    return name in said ? "This name was given above already: it has one value." : "";
  }
}
