// A shared worker: one connection for all pages that a browser has open, as browsers
// allow only six to one server.
const ports = new Set();
let source = null;
let last = null;

function tell(message) {
  last = { ...last, lost: false, ...message };
  for (const port of ports) {
    port.postMessage(last);
  }
}

function listen(url) {
  source = new EventSource(url);
  source.addEventListener("open", () => tell({}));
  source.addEventListener("overview", ({ data, lastEventId }) => tell({ overview: JSON.parse(data), id: lastEventId }));
  source.addEventListener("error", () => {
    tell({ lost: true });
    if (source.readyState === EventSource.CLOSED) {
      // The server refused: it may be starting, or the session ended.
      setTimeout(() => ports.size && listen(url), 5000);
    }
  });
}

onconnect = ({ ports: [port] }) => {
  port.onmessage = ({ data }) => {
    if (data.leave) {
      ports.delete(port);
      if (!ports.size && source) {
        source.close();
        source = null;
      }
      return;
    }
    ports.add(port);
    if (last) {
      port.postMessage(last);
    }
    if (!source) {
      listen(data.url);
    }
  };
};
