// The players of one channel, of which the server tells those in sight.

import { make, setAttribute, setText, show } from "./dom.js";
import { Grid, textColumn } from "./grid.js";
import { UNKNOWN, bytes, count, form, many, seconds, span } from "./words.js";

const ROWS = 100; // asked for: those in sight and some around, so that not each step asks anew
const MARGIN = 20;
const WAIT_MS = 120; // until the scrolling rests

// What a column's first click sorts by, largest first where that is what people look for.
const LARGEST_FIRST = new Set(["lag", "dropped", "sent"]);

function state(row, channel) {
  if (row.waiting || (channel && !channel.live)) return "waits"; // nothing comes to anybody, then
  if (row.paused) return "paused";
  if (row.audio === false && row.video === false) return "no media";
  if (row.audio === false) return "picture only";
  return row.video === false ? "sound only" : "plays";
}

function columns(store) {
  return [
    {
      id: "number",
      label: "No.",
      fill: (cell, row) => {
        setText(cell, `#${row.number}`);
        setAttribute(cell, "title", `the connection's number in the log${row.worker ? `, of ${row.worker}` : ""}`);
      },
    },
    {
      ...textColumn("address", "Address", (row) => row.address),
      sort: true,
    },
    {
      id: "agent",
      label: "Player",
      sort: true,
      make: (cell) => cell.append(make("bdi")),
      fill: (cell, row) => {
        const words = [row.user, row.agent].filter(Boolean).join(", ") || UNKNOWN;
        setText(cell.firstChild, words);
        setAttribute(cell, "title", row.page ? `${words}, from ${row.page}` : words);
      },
    },
    textColumn("form", "As", (row) => form(row)),
    textColumn("plays", "State", (row) => state(row, store.depth && store.channels.get(store.depth.channel))),
    {
      id: "lag",
      label: "Lag",
      sort: true,
      numeric: true,
      fill: (cell, row) => {
        setText(cell, row.lag === undefined ? UNKNOWN : seconds(row.lag));
        setAttribute(cell, "data-state", row.lag > 5 ? "bad" : row.lag > 2 ? "warning" : null);
        setAttribute(cell, "title", row.behind === undefined ? "" : `${bytes(row.behind)} behind`);
      },
    },
    {
      ...textColumn("dropped", "Dropped", (row) => (row.skips ? `${count(row.dropped)} in ${many(row.skips, "skip")}` : count(row.dropped))),
      sort: true,
      numeric: true,
    },
    { ...textColumn("sent", "Sent", (row) => bytes(row.sent)), sort: true, numeric: true },
    { ...textColumn("since", "For", (row) => span(store.now - row.since)), sort: true, numeric: true },
    {
      id: "actions",
      label: "Actions",
      unseen: true,
      make: (cell) => cell.append(make("button", { class: "quiet", tabindex: "-1" }, "Disconnect", make("span", { class: "unseen" }))),
      fill: (cell, row) => {
        setText(cell.firstChild.lastChild, ` ${row.address} #${row.number}`);
        cell.firstChild.disabled = store.stale;
      },
    },
  ];
}

export class Players {
  /** `ask(view)` tells the server which players are to be told of. */
  constructor(root, store, act, ask) {
    this.store = store;
    this.ask = ask;
    this.channel = "";
    this.asked = null;
    this.timer = 0;
    this.words = make("input", { type: "search", placeholder: "Filter by address, player, user", autocomplete: "off", spellcheck: "false", maxlength: "100", id: "filter-players" });
    this.words.addEventListener("input", () => this.soon(0, ROWS));
    this.told = make("p", { class: "count", role: "status" });
    this.none = make("p", { class: "none" }, "Nobody watches.");
    root.append(
      make("div", { class: "tools" }, make("label", { class: "find" }, make("span", { class: "unseen" }, "Filter players"), this.words), this.told),
    );
    const table = make("div");
    root.append(table, this.none);
    this.grid = new Grid(table, {
      name: "player-row",
      label: "players",
      columns: columns(store),
      open: null,
      act,
      sorted: (id) => {
        if (this.sort !== id) this.grid.descending = LARGEST_FIRST.has(id);
        this.sort = id;
        this.grid.mark();
        this.soon(0, ROWS);
      },
      wanted: (first, rows) => this.look(first, rows),
    });
  }

  open(channel) {
    this.channel = channel;
    this.words.value = "";
    this.grid.sort = this.sort = "";
    this.grid.descending = false;
    this.grid.active = -1;
    this.grid.mark();
    this.grid.set(0, () => undefined);
    this.again();
  }

  /** Ask for the first players, as after the connection came back. */
  again() {
    this.asked = null;
    if (this.channel) this.tell(0, ROWS);
  }

  close() {
    clearTimeout(this.timer);
    this.channel = "";
    this.asked = null;
  }

  /** Ask for what is in sight, where that is not told yet. */
  look(first, rows) {
    const asked = this.asked;
    if (asked === null || (first >= asked.first && first + rows <= asked.first + asked.rows)) return;
    this.soon(Math.max(0, first - MARGIN), Math.min(200, Math.max(ROWS, rows + 2 * MARGIN)));
  }

  soon(first, rows) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.tell(first, rows), WAIT_MS);
  }

  tell(first, rows) {
    clearTimeout(this.timer);
    const view = {
      channel: this.channel,
      first,
      rows,
      sort: this.grid.sort || "joined",
      descending: this.grid.descending,
      words: this.words.value.trim(),
    };
    this.asked = view;
    this.ask(view);
  }

  render() {
    const depth = this.store.depth;
    if (depth === null || depth.channel !== this.channel || !depth.found) return;
    const { total, first, players } = depth;
    const words = this.words.value.trim() ? `${many(total, "player")} found` : many(total, "player");
    setText(this.told, words);
    show(this.none, total === 0);
    this.grid.set(total, (index) => players[index - first]);
  }
}
