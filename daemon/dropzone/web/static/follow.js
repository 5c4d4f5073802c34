// A shared worker: one connection for all pages that a browser has open, as browsers
// allow only six to one server.
import { listen } from "./events.js";

const ports = new Set();
let stop = null;
let last = null;

function tell(message) {
  last = { ...last, ...message };
  for (const port of ports) {
    port.postMessage(last);
  }
}

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.leave) {
      ports.delete(port);
      if (!ports.size) {
        stop?.();
        stop = null;
      }
      return;
    }
    ports.add(port);
    if (last) {
      port.postMessage(last);
    }
    stop ??= listen(data.url, tell);
  };
};
