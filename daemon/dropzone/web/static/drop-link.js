// Whether the daemon can be reached and the session holds; all uploads wait here while
// not, so that one question is asked and not one for each.
import { Refused } from "./drop-tus.js";

const FIRST = 500;
const LONGEST = 10000;
const SIGNED_OUT = 2000;

export class Link extends EventTarget {
  constructor(tus) {
    super();
    this.tus = tus;
    this.state = "good";
    this.again = null;
    this.hurry = () => {};
    for (const [target, name] of [[window, "online"], [document, "visibilitychange"], [window, "focus"]]) {
      target.addEventListener(name, () => !document.hidden && this.hurry());
    }
  }

  // Returns when the daemon answers us again.
  restored() {
    this.again ??= this.ask().finally(() => {
      this.again = null;
    });
    return this.again;
  }

  async ask() {
    for (let wait = FIRST; ; wait = Math.min(1.6 * wait, LONGEST)) {
      try {
        await this.tus.refresh();
        this.tell("good");
        return;
      } catch (error) {
        const out = error instanceof Refused && error.status === 401;
        this.tell(out ? "out" : "lost");
        await this.pause(out ? SIGNED_OUT : wait * (0.75 + Math.random() / 2));
      }
    }
  }

  // Waits, but not longer than until something says that it may be better now.
  pause(time) {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        resolve();
      };
      const timer = setTimeout(done, time);
      this.hurry = done;
    });
  }

  tell(state) {
    if (state !== this.state) {
      this.state = state;
      this.dispatchEvent(new Event("change"));
    }
  }
}
