// Runs on every page: times in the viewer's zone, what is live, dialogs, keys.
import { follow } from "./live.js";
import { askInDialogs } from "./dialogs.js";
import { Kept } from "./drop-kept.js";
import { tellTimes } from "./times.js";

const about = document.querySelector('meta[name="dropzone"]');

tellTimes(document);
askInDialogs();
if (about) {
  follow(about.content, about.dataset.follow);
}

// Who logs out leaves no names of files behind.
document.querySelector("form.leave")?.addEventListener("submit", () => new Kept(about.content).clear());

// What a page told once is not told again when it is loaded again.
const here = new URL(location.href);
if (here.searchParams.has("told")) {
  here.searchParams.delete("told");
  history.replaceState(null, "", here);
}

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    const find = document.getElementById("find");
    if (find) {
      event.preventDefault();
      find.focus();
      find.select();
    }
  }
});
