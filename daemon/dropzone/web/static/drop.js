// The page that takes files: what a person does with it, and what it tells.
import { Arrivals } from "./drop-arrivals.js";
import { entriesOf, filesIn, filesOf } from "./drop-gather.js";
import { Kept, printOf } from "./drop-kept.js";
import { Link } from "./drop-link.js";
import { List, groupOf } from "./drop-list.js";
import { Queue, whole } from "./drop-queue.js";
import { Sum } from "./drop-sum.js";
import { Tus } from "./drop-tus.js";
import { Before } from "./drop-before.js";
import { Form } from "./drop-form.js";
import { files } from "./drop-words.js";

const about = document.querySelector('meta[name="dropzone"]');
const prefix = about.content;
const root = document.getElementById("drop");
// So many are added before the page gets a breath.
const AT_A_TIME = 200;

const tus = new Tus(prefix, about.dataset.csrf);
const link = new Link(tus);
const kept = new Kept(prefix);
const form = new Form(root);
const arrivals = new Arrivals(tus, changed);
const queue = new Queue(tus, link, kept, { changed, landed: (item) => arrivals.add(item) });
const list = new List(document.getElementById("drop-lists"), document.getElementById("drop-row"), { prefix, items: queue.items, act });
const sum = new Sum(root, queue, all);
const before = new Before(document.getElementById("drop-before"), tus, kept, queue);

function changed(item) {
  list.soon(item);
  sum.soon(item);
  before.soon();
}

function act(name, item) {
  const does = { pause: () => queue.pause(item), resume: () => queue.resume(item), again: () => queue.resume(item), cancel: () => queue.cancel(item) };
  does[name]();
}

function all(name) {
  const items = [...queue.items.values()];
  const some = {
    pause: () => items.filter((item) => queue.moving(item)).reverse().forEach((item) => queue.pause(item)),
    resume: () => items.filter((item) => item.state === "paused").reverse().forEach((item) => queue.resume(item)),
    again: () => items.filter((item) => item.state === "failed").reverse().forEach((item) => queue.resume(item)),
    clear: () => items.filter((item) => item.state === "landed" || item.state === "failed").forEach(clear),
    cancel: () => document.getElementById("drop-cancel").showModal(),
  };
  some[name]();
}

function clear(item) {
  arrivals.forget(item);
  if (item.state === "failed") {
    queue.cancel(item);
  } else {
    queue.forget(item);
  }
}

document.getElementById("drop-cancel").addEventListener("close", ({ target }) => {
  if (target.returnValue === "cancel") {
    [...queue.items.values()].filter((item) => item.state !== "landed").reverse().forEach((item) => queue.cancel(item));
  }
  target.returnValue = "";
});

// Adding files

async function add(found, leaveOut) {
  const told = form.read();
  if (!told) {
    return;
  }
  sum.adding(1);
  let count = 0;
  let known = 0;
  const held = queue.held();
  for await (const { file, path } of found) {
    const one = { file, path, print: printOf(file, path), ...told };
    if (held.has(whole(one))) {
      known += 1;
      continue;
    }
    held.add(whole(one));
    queue.add(one);
    count += 1;
    if (count % AT_A_TIME === 0) {
      await new Promise((resolve) => setTimeout(resolve));
    }
  }
  sum.adding(-1);
  if (count) {
    sum.hear(`${files(count)} added.`);
  }
  tell([
    known && `${files(known)} that ${known === 1 ? "is" : "are"} on the way already ${known === 1 ? "was" : "were"} not added again.`,
    leaveOut.count === 1 && "One hidden or temporary name in it was left out.",
    leaveOut.count > 1 && `${leaveOut.count.toLocaleString("en")} hidden or temporary names in it were left out.`,
    leaveOut.unreadable && `${files(leaveOut.unreadable)} or folders could not be read.`,
    !count && !known && !leaveOut.count && "There was no file in it: empty folders are not kept.",
  ]);
}

function tell(sentences) {
  const note = document.getElementById("drop-told");
  note.textContent = sentences.filter(Boolean).join(" ");
  note.hidden = !note.textContent;
}

for (const [button, input] of [["drop-choose", "drop-files"], ["drop-choose-folder", "drop-folder"]]) {
  const field = document.getElementById(input);
  document.getElementById(button).addEventListener("click", (event) => {
    event.stopPropagation();
    field.click();
  });
  field.addEventListener("click", (event) => event.stopPropagation());
  field.addEventListener("change", () => {
    const leaveOut = form.leavingOut();
    add(filesOf([...field.files], leaveOut), leaveOut);
    // The same ones may be chosen again.
    field.value = "";
  });
}
document.getElementById("drop-area").addEventListener("click", () => document.getElementById("drop-files").click());

// What is dragged may cross many elements: it has left when it left as many as it entered.
let within = 0;
const brings = (event) => event.dataTransfer?.types.includes("Files");
function drag(event, step) {
  if (brings(event)) {
    event.preventDefault();
    within = Math.max(0, within + step);
    document.body.classList.toggle("dragging", within > 0);
  }
}
document.addEventListener("dragenter", (event) => drag(event, 1));
document.addEventListener("dragleave", (event) => drag(event, -1));
document.addEventListener("dragover", (event) => {
  if (brings(event)) {
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  }
});
document.addEventListener("drop", (event) => {
  if (brings(event)) {
    drag(event, -within);
    const leaveOut = form.leavingOut();
    add(filesIn(entriesOf(event.dataTransfer), leaveOut), leaveOut);
  }
});

// The connection, the session, leaving

function tellLink() {
  document.getElementById("drop-out").hidden = link.state !== "out";
  document.getElementById("drop-lost").hidden = link.state !== "lost";
}
link.addEventListener("change", tellLink);
document.addEventListener("dropzone:overview", () => link.hurry());
document.addEventListener("dropzone:out", (event) => {
  if (queue.items.size) {
    event.preventDefault();
    link.restored();
  }
});
addEventListener("beforeunload", (event) => {
  if ([...queue.items.values()].some((item) => groupOf(item) === "busy")) {
    event.preventDefault();
  }
});

// Phones cannot choose a folder.
document.getElementById("drop-choose-folder").hidden = !("webkitdirectory" in HTMLInputElement.prototype);
root.hidden = false;
before.load();
