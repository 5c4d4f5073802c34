// Shows a question (a page of its own without this script) in a dialog.
async function ask(link) {
  const url = new URL(link.href);
  url.searchParams.set("next", link.dataset.next ?? nextHere());
  const answer = await fetch(url, { headers: { accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const question = page.getElementById("question");
  if (!question || !answer.ok) {
    location.assign(url);
    return;
  }
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "question-title");
  dialog.append(document.adoptNode(question));
  dialog.addEventListener("close", () => {
    dialog.remove();
    link.focus();
  });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("[data-close]")) {
      event.preventDefault();
      dialog.close();
    }
  });
  document.body.append(dialog);
  dialog.showModal();
}

function nextHere() {
  const prefix = document.querySelector('meta[name="dropzone"]').content;
  return location.pathname.slice(prefix.length) + location.search;
}

export function askInDialogs() {
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-dialog]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      ask(link);
    }
  });
}
