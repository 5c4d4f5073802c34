// While everything is examined, asks whether it is done and shows what was found.
import { tellTimes } from "./times.js";

const often = 1000;
const region = document.getElementById("doctor");

async function look() {
  try {
    const answer = await fetch(region.dataset.ask);
    const told = answer.ok ? await answer.json() : null;
    if (told && told.state !== "running") {
      await show();
      return;
    }
  } catch {
    // The page tells by itself that the daemon is away.
  }
  setTimeout(look, often);
}

async function show() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("doctor");
  if (!answer.ok || !fresh) {
    location.reload();
    return;
  }
  document.querySelector(".note[role=status]")?.remove();
  region.replaceChildren(...fresh.childNodes);
  region.dataset.state = fresh.dataset.state;
  tellTimes(region);
  document.getElementById("heard").textContent = document.getElementById("doctor-title").textContent;
}

if (region.dataset.state === "running") {
  setTimeout(look, often);
}
