// Getting the live picture: one document first, then the event stream. The session's cookie goes along by itself.

import { Unauthorized, toLogin } from "./session.js";

export { Unauthorized };

const STREAM = "/api/v1/stream";
const RETRY_MS = 3000;
const QUIET_MS = 30_000;

/** A GET; throws Unauthorized on 401 and Error with the problem's detail otherwise. */
export async function get(path, options = {}) {
  const response = await fetch(path, options);
  if (response.status === 401) throw new Unauthorized(path);
  if (!response.ok) {
    const problem = await response.json().catch(() => ({}));
    throw Object.assign(new Error(problem.detail ?? response.statusText), { status: response.status });
  }
  return response;
}

export const getJson = async (path) => (await get(path)).json();

export class Feed {
  /** `onLive(document)`, `onState("connecting" | "open" | "reconnecting" | "waiting")` */
  constructor({ onLive, onState }) {
    Object.assign(this, { onLive, onState, heardAt: 0, stop: () => {} });
    setInterval(() => this.refreshWhenQuiet(), 5000);
  }

  async start() {
    this.stop();
    try {
      this.hear(await getJson("/api/v1/live"));
      this.onState("open");
      this.streamByEventSource();
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
      toLogin();
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
