// Times in the viewer's zone and language; "ago" moves on by itself.
const language = navigator.languages;
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(language, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" });
// A viewer's clock may be wrong: how long ago something was is told by the daemon's.
const about = document.querySelector('meta[name="dropzone"]');
const WRONG = 60000;
const ahead = about ? Date.now() - 1000 * Number(about.dataset.at) : 0;
const now = () => Date.now() - (Math.abs(ahead) > WRONG ? ahead : 0);
const steps = [["day", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function ago(at) {
  const seconds = Math.round((now() - at) / 1000);
  const [unit, length] = steps.find(([, length]) => Math.abs(seconds) >= length) ?? steps.at(-1);
  const number = Math.floor(Math.abs(seconds) / length);
  const told = `${number} ${unit === "day" && number !== 1 ? "days" : unit}`;
  if (Math.abs(seconds) < 2) {
    return "just now";
  }
  return seconds < 0 ? `in ${told}` : `${told} ago`;
}

function today(at) {
  return new Date(at).toDateString() === new Date(now()).toDateString();
}

function tell(element) {
  const at = Date.parse(element.dateTime);
  const told = { ago: () => ago(at), clock: () => (today(at) ? clock : day).format(at), moment: () => exact.format(at) };
  const text = told[element.dataset.as]();
  if (element.textContent !== text) {
    element.textContent = text;
  }
  if (!element.title) {
    element.title = exact.format(at);
  }
}

export function tellTimes(within) {
  within.querySelectorAll("time[data-as]").forEach(tell);
  within.querySelectorAll("g[data-at]").forEach((bar) => {
    bar.querySelector("title").textContent = `${day.format(Date.parse(bar.dataset.at))}: ${bar.dataset.label}`;
  });
}

setInterval(() => {
  if (!document.hidden) {
    document.querySelectorAll('time[data-as="ago"]').forEach(tell);
  }
}, 1000);
