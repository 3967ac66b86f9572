// What the server has told so far: the whole picture once, then what changed.

const CHART_S = 60;
const EVENTS = 200; // of each kind: many viewers push out no end of a publisher
const BEGINNINGS = new Set(["publish", "play"]);
const KINDS = { unpublish: "publish", kicked: "publish", stop: "play" };

/** Whether something ended or was refused, and did not begin. */
export function isEnd(event) {
  return !BEGINNINGS.has(event.what);
}

/** What tells an event from all others; a worker that began anew counts from one again. */
export function eventKey(event) {
  return `${event.worker} ${event.serial} ${event.at}`;
}

export class Store {
  constructor() {
    this.channels = new Map(); // by name; a name is never a key of an object
    this.server = {};
    this.events = []; // the newest first
    this.missing = [];
    this.listener = "";
    this.depth = null;
    this.offset = 0; // the server's clock less ours
    this.seen = false;
    this.at = 0; // when the server said something last, by its clock
    this.late = false; // it is asked, and has not answered yet
    this.silent = false; // it did not answer
    this.stale = false; // what is here is no longer known to be so
    this.blocks = new Map(); // by name: until when nobody may publish a channel
  }

  /** The server's time, by the clock here. */
  get now() {
    return Date.now() / 1000 + this.offset;
  }

  picture(message) {
    this.channels = new Map();
    this.events = [];
    this.server = {};
    this.listener = message.listener;
    this.depth = null;
    this.late = false;
    this.seen = true;
    this.changes(message);
  }

  changes(message) {
    this.offset = message.at - Date.now() / 1000;
    this.late = Boolean(message.late);
    if (message.silent !== undefined) this.silent = message.silent;
    if (!this.late && !this.silent) this.at = message.at;
    Object.assign(this.server, message.server);
    for (const name of message.gone || []) this.channels.delete(name);
    for (const [name, fields] of message.channels || []) this.change(name, fields);
    if (message.events) this.happen(message.events);
    if (message.missing) this.missing = message.missing;
    if (message.blocks) this.blocks = new Map(message.blocks);
  }

  change(name, fields) {
    const row = this.channels.get(name) || { name, chart: [] };
    const { more, ...others } = fields;
    Object.assign(row, others);
    if (more) row.chart = [...row.chart, ...more].slice(-CHART_S);
    this.channels.set(name, row);
  }

  happen(events) {
    const kept = {};
    this.events = [...events.slice().reverse(), ...this.events].filter((one) => {
      const kind = KINDS[one.what] || one.what;
      kept[kind] = (kept[kind] || 0) + 1;
      return kept[kind] <= EVENTS;
    });
  }

  /** Return until when a channel is blocked, null where it is not. */
  blockOf(name) {
    const until = this.blocks.get(name);
    if (until !== undefined && until <= this.now) this.blocks.delete(name);
    return this.blocks.get(name) ?? null;
  }

  /** Take what was told of one channel; its earlier ends come only with the first of these. */
  deepen(message) {
    const before = this.depth && this.depth.channel === message.channel ? this.depth : {};
    this.depth = { ...before, ...message };
  }

  /** What ended or was refused on a channel, the newest first: what is remembered of it, and what came since. */
  eventsOf(name) {
    const known = new Set();
    const earlier = this.depth && this.depth.channel === name && this.depth.ends ? this.depth.ends : [];
    return [...this.events.filter((one) => one.channel === name && isEnd(one)), ...earlier.slice().reverse()].filter((one) => {
      const key = eventKey(one);
      return !known.has(key) && known.add(key);
    });
  }
}
