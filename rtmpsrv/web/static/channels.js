// The list of all channels: filter, verdicts, order, and what each row shows.

import { makeBadge, showBadge } from "./badge.js";
import { Spark } from "./chart.js";
import { byId, make, setAttribute, setText, show } from "./dom.js";
import { Grid, textColumn } from "./grid.js";
import { UNKNOWN, VERDICTS, bitrate, count, many, remaining, span, stateOf, verdict } from "./words.js";

const sparks = new WeakMap();

// How rows compare for each column; the first click is what people look for: the worst, the most.
const ORDERS = {
  verdict: (a, b) => verdict(stateOf(a)).rank - verdict(stateOf(b)).rank,
  name: () => 0,
  bitrate: (a, b) => b.bitrate - a.bitrate,
  viewers: (a, b) => b.players - a.players,
  uptime: (a, b) => (a.started || Infinity) - (b.started || Infinity),
};

const byName = new Intl.Collator("en", { numeric: true });

/** Return the channels that match words and verdict, in order. */
export function chosen(channels, words, state, sort, descending) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [];
  for (const row of channels) {
    if (state && stateOf(row) !== state) continue;
    const text = `${row.name} ${row.tracks.join(" ")} ${row.worker} ${row.sentence}`.toLowerCase();
    if (wanted.every((word) => text.includes(word))) rows.push(row);
  }
  const sign = descending ? -1 : 1;
  const compare = ORDERS[sort];
  return rows.sort((a, b) => sign * (compare(a, b) || byName.compare(a.name, b.name)));
}

/** What is wrong and what to do, and for whom. */
function advice(row, now) {
  const left = remaining(row, now);
  if (left !== null) return `${row.sentence} ${span(left)} left.`;
  if (row.live || row.suspended || row.players === 0) return row.sentence;
  return `${row.sentence} ${many(row.players, "player waits", "players wait")} for somebody who does.`;
}

function onAirFor(row, now) {
  if (row.live) return row.started ? span(now - row.started) : UNKNOWN;
  if (!row.suspended) return UNKNOWN;
  const left = remaining(row, now);
  if (left === null) return "waits";
  return left < 60 ? `waits ${span(left)}` : `waits ${Math.ceil(left / 60)} min`;
}

function columns(store) {
  return [
    {
      id: "verdict",
      label: "Verdict",
      sort: true,
      make: (cell) => cell.append(makeBadge()),
      fill: (cell, row) => showBadge(cell.firstChild, stateOf(row)),
    },
    {
      id: "name",
      label: "Channel",
      sort: true,
      make: (cell) => cell.append(make("bdi", { class: "title" }), make("span", { class: "sentence" })),
      fill: (cell, row) => {
        setText(cell.firstChild, row.name);
        setAttribute(cell.firstChild, "title", row.records ? `${row.name}, recorded` : row.name);
        setAttribute(cell.firstChild, "data-records", row.records ? "yes" : null);
        const words = row.verdict === "good" ? "" : advice(row, store.now); // calm where all is well
        setText(cell.lastChild, words);
        setAttribute(cell.lastChild, "title", words);
      },
    },
    {
      id: "bitrate",
      label: "Bitrate",
      sort: true,
      numeric: true,
      make: (cell) => {
        const spark = new Spark();
        sparks.set(cell, spark);
        cell.append(spark.element, make("span", { class: "value" }));
      },
      fill: (cell, row) => {
        sparks.get(cell).show(row.chart);
        setText(cell.lastChild, row.live ? bitrate(row.bitrate) : UNKNOWN);
      },
    },
    {
      id: "viewers",
      label: "Viewers",
      sort: true,
      numeric: true,
      make: (cell) => cell.append(make("span", {}), make("span", { class: "unit" })),
      fill: (cell, row) => {
        const watched = row.live || row.suspended; // else its players see nothing, and are in its sentence
        setText(cell.firstChild, watched ? count(row.players) : UNKNOWN);
        setText(cell.lastChild, watched ? (row.players === 1 ? " viewer" : " viewers") : "");
      },
    },
    {
      id: "tracks",
      label: "Tracks",
      make: (cell) => cell.append(make("span", {}), make("span", {})),
      fill: (cell, row) => {
        const [first, ...others] = row.tracks;
        setText(cell.firstChild, first || UNKNOWN);
        setText(cell.lastChild, others.join(" · "));
        setAttribute(cell, "title", row.tracks.join(", "));
      },
    },
    textColumn("uptime", "On air for", (row) => onAirFor(row, store.now), {
      sort: true,
      numeric: true,
    }),
    {
      id: "actions",
      label: "Actions",
      unseen: true,
      make: (cell) => cell.append(make("button", { class: "quiet", tabindex: "-1" }, "Stop", make("span", { class: "unseen" }))),
      fill: (cell, row) => {
        show(cell.firstChild, row.live || row.suspended);
        cell.firstChild.disabled = store.stale;
        setText(cell.firstChild.lastChild, ` ${row.name}`);
      },
    },
  ];
}

export class Channels {
  constructor(store, open, stop) {
    this.store = store;
    this.state = "";
    this.filter = byId("filter");
    this.filter.addEventListener("input", () => this.render());
    byId("show-all").addEventListener("click", () => this.showAll());
    this.grid = new Grid(byId("channels"), {
      name: "channel-row",
      label: "channels",
      columns: columns(store),
      open,
      act: stop,
      sort: "verdict",
      sorted: () => this.render(),
    });
    this.chips = new Map();
    for (const state of ["", ...Object.keys(VERDICTS)]) {
      const chip = make("button", { class: "chip", "data-state": state, "aria-pressed": "false" }, make("span", {}), " ", make("b", {}));
      chip.firstChild.textContent = state ? VERDICTS[state].word : "All";
      chip.addEventListener("click", () => {
        this.state = this.state === state ? "" : state;
        this.render();
      });
      this.chips.set(state, chip);
      byId("verdicts").append(chip);
    }
  }

  showAll() {
    this.state = "";
    this.filter.value = "";
    this.render();
    this.filter.focus();
  }

  render() {
    const all = [...this.store.channels.values()];
    const counts = {};
    for (const row of all) counts[stateOf(row)] = (counts[stateOf(row)] || 0) + 1;
    for (const [state, chip] of this.chips) {
      const number = state ? counts[state] || 0 : all.length;
      setText(chip.lastChild, count(number));
      setAttribute(chip, "aria-pressed", String(this.state === state));
      setAttribute(chip, "aria-label", `${state ? VERDICTS[state].word : "All"}: ${many(number, "channel")}`);
      show(chip, state === "" || number > 0 || this.state === state);
    }
    const rows = chosen(all, this.filter.value, this.state, this.grid.sort, this.grid.descending);
    show(byId("none-found"), rows.length === 0 && all.length > 0);
    this.grid.set(rows.length, (index) => rows[index], (row) => row.name);
  }
}
