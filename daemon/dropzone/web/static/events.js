// The line to the daemon, over which it tells what changed. Networks lose lines without
// a word: when nothing was heard for long, not even a beat, it is begun anew.
const SILENT = 45_000;
const LOOK = 5_000;
const AGAIN = 5_000;

// Calls tell({ overview, id }) with each overview, tell({ lost }) when the line is lost
// and when it is back. Returns what ends it.
export function listen(url, tell) {
  let source = null;
  let heard = 0;
  let again = 0;
  const connect = () => {
    clearTimeout(again);
    heard = Date.now();
    source = new EventSource(url);
    const hear = (message) => {
      heard = Date.now();
      tell({ lost: false, ...message });
    };
    source.addEventListener("open", () => hear({}));
    source.addEventListener("overview", ({ data, lastEventId }) => hear({ overview: JSON.parse(data), id: lastEventId }));
    source.addEventListener("beat", () => (heard = Date.now()));
    source.addEventListener("error", ({ target }) => {
      tell({ lost: true });
      if (target.readyState === EventSource.CLOSED) {
        // The server refused: it may be starting, or the session ended.
        clearTimeout(again);
        again = setTimeout(connect, AGAIN);
      }
    });
  };
  const watch = setInterval(() => {
    if (Date.now() - heard > SILENT) {
      source.close();
      tell({ lost: true });
      connect();
    }
  }, LOOK);
  connect();
  return () => {
    clearInterval(watch);
    clearTimeout(again);
    source.close();
  };
}
