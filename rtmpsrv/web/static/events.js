// Ends and refusals, with their reasons: of all channels, or of one.

import { byId, make, setAttribute, setText, show } from "./dom.js";
import { Grid, textColumn } from "./grid.js";
import { eventKey, isEnd } from "./store.js";
import { UNKNOWN, ago, bytes, moment, span } from "./words.js";

const WHAT = {
  publish: ["Published", "good"],
  unpublish: ["Publisher left", "offline"],
  play: ["Joined", "good"],
  stop: ["Viewer left", "offline"],
  refused: ["Refused", "bad"],
  kicked: ["Disconnected", "warning"],
  recorded: ["Recorded", "good"],
};
const KINDS = {
  ends: ["Ends and refusals", (what) => isEnd({ what })],
  publishers: ["Publishers left", (what) => what === "unpublish"],
  viewers: ["Viewers left", (what) => what === "stop"],
  refused: ["Refused and disconnected", (what) => what === "refused" || what === "kicked"],
  recorded: ["Recordings", (what) => what === "recorded"],
  beginnings: ["Beginnings", (what) => !isEnd({ what })],
};

function columns(store, withChannel) {
  const all = [
    {
      id: "when",
      label: "When",
      fill: (cell, row) => {
        setText(cell, ago(store.now - row.at));
        setAttribute(cell, "title", moment(row.at));
      },
    },
    {
      id: "what",
      label: "What",
      make: (cell) => cell.append(make("span", { class: "badge" }, make("span", { class: "shape", "aria-hidden": "true" }), make("span", {}))),
      fill: (cell, row) => {
        const [word, state] = WHAT[row.what] || [row.what, "offline"];
        setAttribute(cell.firstChild, "data-state", state);
        setText(cell.firstChild.lastChild, word);
      },
    },
    {
      id: "name",
      label: "Channel",
      make: (cell) => cell.append(make("bdi", { class: "title" })),
      fill: (cell, row) => {
        setText(cell.firstChild, row.channel || UNKNOWN);
        setAttribute(cell.firstChild, "title", row.channel);
      },
    },
    {
      id: "reason",
      label: "Reason",
      fill: (cell, row) => {
        setText(cell, row.reason || UNKNOWN);
        setAttribute(cell, "title", row.reason);
      },
    },
    textColumn("address", "Address", (row) => row.address),
    textColumn("span", "After", (row) => (row.seconds > 0 ? span(row.seconds) : UNKNOWN), { numeric: true }),
    textColumn("traffic", "Traffic", (row) => (row.received + row.sent > 0 ? bytes(Math.max(row.received, row.sent)) : UNKNOWN), {
      numeric: true,
    }),
  ];
  return all.filter((one) => withChannel || one.id !== "name");
}

/** A table of events. */
export class EventTable {
  constructor(root, store, { withChannel, open = null, label }) {
    this.grid = new Grid(root, {
      name: withChannel ? "event-row" : "event-row of-one",
      label,
      columns: columns(store, withChannel),
      open,
      act: null,
      sorted: () => {},
    });
  }

  show(rows) {
    this.grid.set(rows.length, (index) => rows[index], eventKey);
  }
}

/** The view of all events. */
export class Events {
  constructor(store, open) {
    this.store = store;
    this.kind = "ends";
    this.filter = byId("filter-events");
    this.filter.addEventListener("input", () => this.render());
    this.table = new EventTable(byId("events"), store, {
      withChannel: true,
      label: "ends and refusals",
      open: (row) => row.channel && open({ name: row.channel }),
    });
    this.chips = new Map();
    for (const [kind, [word]] of Object.entries(KINDS)) {
      const chip = make("button", { class: "chip", "aria-pressed": "false" }, word);
      chip.addEventListener("click", () => {
        this.kind = kind;
        this.render();
      });
      this.chips.set(kind, chip);
      byId("kinds").append(chip);
    }
  }

  render() {
    for (const [kind, chip] of this.chips) setAttribute(chip, "aria-pressed", String(kind === this.kind));
    const words = this.filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = KINDS[this.kind][1];
    const rows = this.store.events.filter((row) => {
      const text = `${row.channel} ${row.address} ${row.reason} ${row.worker}`.toLowerCase();
      return wanted(row.what) && words.every((word) => text.includes(word));
    });
    setText(byId("no-events"), this.store.events.some(isEnd) || this.kind === "beginnings" ? "Nothing matches." : "Nothing has ended and nobody was refused so far.");
    show(byId("no-events"), rows.length === 0);
    this.table.show(rows);
  }
}
