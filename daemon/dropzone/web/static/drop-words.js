// How the page writes sizes, times and states; as words.py and text.py do.
export function size(count) {
  if (count < 1000) {
    return `${Math.round(count)} B`;
  }
  const units = ["kB", "MB", "GB", "TB"];
  let value = count / 1000;
  while (value >= 1000 && units.length > 1) {
    value /= 1000;
    units.shift();
  }
  return `${value.toFixed(1)} ${units[0]}`;
}

export function span(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) {
    return `${whole} s`;
  }
  const minutes = Math.round(whole / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function files(number) {
  return number === 1 ? "1 file" : `${number.toLocaleString("en")} files`;
}

const STATES = {
  claiming: ["being taken", "busy", 2],
  claimed: ["taken", "busy", 2],
  stored: ["stored in S3", "busy", 3],
  indexed: ["in Postgres", "busy", 3],
  waiting: ["waits", "warn", 2],
  done: ["done", "good", 4],
  failed: ["failed", "bad", 4],
};
const OUTCOMES = {
  indexed: ["indexed", "good", 4],
  duplicate: ["known already", "calm", 4],
  stored_only: ["stored only", "calm", 4],
  empty: ["empty", "calm", 4],
  failed: ["failed", "bad", 4],
};
const UPLOADS = {
  waiting: ["waits its turn", "calm", 0],
  sending: ["uploading", "busy", 0],
  lost: ["tries again", "warn", 0],
  paused: ["paused", "warn", 0],
  failed: ["not uploaded", "bad", 0],
  landed: ["in input", "busy", 1],
};

// Returns the word, its tone, and how many of the four steps are done.
export function stateOf(item) {
  if (item.finding) {
    return ["cannot be taken", "bad", 1];
  }
  return item.job ? (OUTCOMES[item.job.outcome] ?? STATES[item.job.status]) : UPLOADS[item.state];
}

// Whether nothing more is to be awaited of a file.
export function ended(item) {
  return Boolean(item.job) && (item.job.outcome !== null || ["done", "failed"].includes(item.job.status));
}

export function nameOf(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

// Returns a name so that nothing in it moves, hides or breaks what stands beside it.
export function shown(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (one) => `\\u${one.codePointAt(0).toString(16).padStart(4, "0")}`);
}
