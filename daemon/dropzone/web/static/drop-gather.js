// Finds the files in what was dropped or chosen, folders and all, some at a time: a
// folder may hold thousands.

// Must be called while the drop is handled: later there is nothing to be read.
export function entriesOf(transfer) {
  return [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile())
    .filter(Boolean);
}

// Yields { file, path }; the path is relative and has the name at its end.
export async function* filesIn(entries, leaveOut) {
  for (const entry of entries) {
    if (entry instanceof File) {
      yield { file: entry, path: entry.name };
    } else {
      yield* below(entry, entry.name, leaveOut, false);
    }
  }
}

export async function* filesOf(list, leaveOut) {
  for (const file of list) {
    const path = file.webkitRelativePath || file.name;
    const parts = path.split("/");
    const hidden = parts.length > 1 && parts.slice(1).some((part) => leaveOut.names(part));
    if (hidden) {
      leaveOut.count += 1;
    } else {
      yield { file, path };
    }
  }
}

async function* below(entry, path, leaveOut, inside) {
  // What a person chose by itself is asked for; its refusal is told.
  if (inside && leaveOut.names(entry.name)) {
    leaveOut.count += 1;
  } else if (entry.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file) {
      yield { file, path };
    } else {
      leaveOut.unreadable += 1;
    }
  } else {
    for await (const child of children(entry, leaveOut)) {
      yield* below(child, `${path}/${child.name}`, leaveOut, true);
    }
  }
}

async function* children(folder, leaveOut) {
  const reader = folder.createReader();
  // A reader hands out a hundred at a time, and nothing at the end.
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve(null)));
    if (!some) {
      leaveOut.unreadable += 1;
      return;
    }
    if (!some.length) {
      return;
    }
    yield* some;
  }
}

// Names that the daemon leaves alone, by its patterns.
export class LeaveOut {
  constructor(patterns) {
    const union = patterns.map((one) => one.replace(/[.+^${}()|\\[\]]/g, "\\$&").replace(/\*/g, ".*").replace(/\?/g, "."));
    this.pattern = new RegExp(`^(?:${union.join("|")})$`, "is");
    this.count = 0;
    this.unreadable = 0;
  }

  names(name) {
    return this.pattern.test(name);
  }
}
