// Getting the live picture: one document first, then the event stream; with a token through fetch, which can send it.

const STREAM = "/api/v1/stream";
const RETRY_MS = 3000;
const QUIET_MS = 30_000;

export class Unauthorized extends Error {}

const token = () => sessionStorage.getItem("tanyun.token");

/** A GET that carries the token; throws Unauthorized on 401 and Error with the problem's detail otherwise. */
export async function get(path, options = {}) {
  const headers = token() ? { Authorization: `Bearer ${token()}` } : {};
  const response = await fetch(path, { headers, ...options });
  if (response.status === 401) throw new Unauthorized(path);
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw Object.assign(new Error(problem.detail ?? response.statusText), { status: response.status });
  }
  return response;
}

export const getJson = async (path) => (await get(path)).json();

export class Feed {
  /** `onLive(document)`, `onState("connecting" | "open" | "reconnecting" | "waiting")`, `onLocked(wrong)` */
  constructor({ onLive, onState, onLocked }) {
    Object.assign(this, { onLive, onState, onLocked, heardAt: 0, stop: () => {} });
    setInterval(() => this.refreshWhenQuiet(), 5000);
  }

  async start() {
    this.stop();
    try {
      this.hear(await getJson("/api/v1/live"));
      this.onState("open");
      if (token()) this.streamByFetch();
      else this.streamByEventSource();
    } catch (error) {
      this.failed(error);
    }
  }

  hear(document_) {
    this.heardAt = Date.now();
    this.onLive(document_);
  }

  failed(error) {
    this.stop();
    this.stop = () => {};
    if (error instanceof Unauthorized) {
      this.onLocked(token() !== null);
      return;
    }
    this.onState(error.status === 503 ? "waiting" : "reconnecting");
    const timer = setTimeout(() => this.start(), RETRY_MS);
    this.stop = () => clearTimeout(timer);
  }

  streamByEventSource() {
    const source = new EventSource(STREAM);
    this.stop = () => source.close();
    source.addEventListener("live", (event) => {
      this.onState("open");
      this.hear(JSON.parse(event.data));
    });
    source.addEventListener("error", () => {
      if (source.readyState === EventSource.CLOSED) this.failed(new Error("stream closed"));
      else this.onState("reconnecting");
    });
  }

  async streamByFetch() {
    const abort = new AbortController();
    this.stop = () => abort.abort();
    try {
      const response = await get(STREAM, { signal: abort.signal });
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = "";
      for (;;) {
        const { value, done } = await reader.read();
        if (done) throw new Error("stream closed");
        const blocks = (rest + value).split("\n\n");
        rest = blocks.pop();
        for (const block of blocks) this.block(block);
      }
    } catch (error) {
      if (!abort.signal.aborted) this.failed(error);
    }
  }

  block(text) {
    const lines = text.split("\n");
    if (!lines.includes("event: live")) return;
    const data = lines.filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
    this.hear(JSON.parse(data));
  }

  /** Nothing changes in the ledger when all meters are silent; their state does. */
  async refreshWhenQuiet() {
    if (this.heardAt === 0 || Date.now() - this.heardAt < QUIET_MS) return;
    this.heardAt = Date.now();
    try {
      this.onLive(await getJson("/api/v1/live"));
    } catch (error) {
      if (error instanceof Unauthorized) this.failed(error);
    }
  }
}

/** Follow a report link; with a token the file is fetched, because a link cannot carry it. */
export async function download(event, href, name) {
  if (!token()) return;
  event.preventDefault();
  const url = URL.createObjectURL(await (await get(href)).blob());
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
