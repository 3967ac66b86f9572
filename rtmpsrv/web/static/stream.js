// The stream of events from the server: opened while the page is seen, opened again when it broke.

import { address } from "./dom.js";

const QUIET_S = 5; // the server says something each second, or each few where it is very busy
const LOST_S = 20;
const FIRST_WAIT_S = 2;
const LONGEST_WAIT_S = 15;

export class Stream {
  /** `told(kind, message)` is called for each message, `state(word, sentence)` when the connection changes. */
  constructor(told, state) {
    this.told = told;
    this.state = state;
    this.source = null;
    this.waitS = FIRST_WAIT_S;
    this.heardAt = 0;
    this.timer = 0;
    document.addEventListener("visibilitychange", () => this.look());
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", () => this.look());
    setInterval(() => this.watch(), 1000);
  }

  /** A page that nobody sees costs nothing. */
  look() {
    if (document.hidden) {
      this.close();
      this.state("asleep", "Paused while hidden");
    } else if (this.source === null) {
      this.open();
    }
  }

  open() {
    this.close();
    this.state("connecting", "Connecting");
    this.heardAt = Date.now();
    const source = new EventSource(address("events"));
    this.source = source;
    for (const kind of ["picture", "changes", "depth"]) {
      source.addEventListener(kind, (event) => this.hear(kind, event.data));
    }
    source.addEventListener("error", () => this.broken(source));
  }

  close() {
    clearTimeout(this.timer);
    if (this.source !== null) this.source.close();
    this.source = null;
  }

  hear(kind, data) {
    this.heardAt = Date.now();
    this.waitS = FIRST_WAIT_S;
    this.state("live", "Live");
    this.told(kind, JSON.parse(data));
  }

  broken(source) {
    if (source !== this.source) return;
    if (source.readyState !== EventSource.CLOSED) {
      this.state("lost", "Connection lost, trying again");
      return;
    }
    this.close();
    this.ask();
  }

  /** Find out why the stream was refused, and try again later, each time later. */
  async ask() {
    const waitS = this.waitS;
    this.waitS = Math.min(LONGEST_WAIT_S, waitS * 2);
    this.timer = setTimeout(() => this.look(), waitS * 1000);
    let why = "The server does not answer";
    try {
      const answer = await fetch(address("events"), { method: "HEAD", cache: "no-store" });
      if (answer.status === 401 || answer.status === 403) why = "Not allowed any more: load the page again to log in";
      else if (answer.status === 503) why = "Too many pages are open at this server";
      else if (!answer.ok) why = `The server answers ${answer.status}`;
      else why = "Connection lost";
    } catch {
      // said already: nobody answers
    }
    if (this.source === null) this.state("lost", `${why}, trying again`);
  }

  watch() {
    if (this.source === null || document.hidden) return;
    const quietS = (Date.now() - this.heardAt) / 1000;
    if (quietS > LOST_S) this.open();
    else if (quietS > QUIET_S) this.state("lost", `No news for ${Math.floor(quietS)} s`);
  }
}
