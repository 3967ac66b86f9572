// One channel in depth: verdict and findings, chart, vitals, tracks, publisher, events. Its players are in players.js.

import { makeBadge, showBadge } from "./badge.js";
import { Chart } from "./chart.js";
import { byId, make, setText, show } from "./dom.js";
import { EventTable } from "./events.js";
import { Players } from "./players.js";
import { UNKNOWN, bitrate, bytes, clock, count, many, remaining, seconds, span, stateOf } from "./words.js";

/** A list of terms and values, made once and filled each second. */
class Facts {
  constructor(element, terms) {
    this.values = new Map();
    for (const [id, term] of terms) {
      const value = make("dd", {}, UNKNOWN);
      element.append(make("div", {}, make("dt", {}, term), value));
      this.values.set(id, value);
    }
  }

  show(id, text) {
    setText(this.values.get(id), text);
  }
}

const VITALS = [
  ["short", "Bitrate, 10 s"],
  ["long", "Bitrate, 60 s"],
  ["limit", "Limit"],
  ["gop", "Keyframes every"],
  ["keyframe", "Last keyframe"],
  ["silence", "Last packet"],
  ["rate", "Arrives at"],
  ["offset", "Sound against picture"],
  ["jitter", "Jitter"],
  ["jumps", "Time jumps"],
  ["stalls", "Pauses over 1 s"],
  ["received", "Received"],
  ["sent", "Sent to viewers"],
  ["dropped", "Dropped for slow viewers"],
  ["cache", "Kept for joiners"],
];

function before(value) {
  return value === null || value === undefined ? UNKNOWN : `${seconds(value)} ago`;
}

/** How far the sound is from the picture, in words; by less than a frame or so it is with it. */
export function offset(value) {
  if (value === null || value === undefined) return UNKNOWN;
  if (Math.abs(value) < 0.02) return "together";
  return `${seconds(Math.abs(value))} ${value > 0 ? "ahead" : "behind"}`;
}

/** The distances of keyframes: one number where they are even. */
export function gops(values) {
  if (!values || values.length === 0) return UNKNOWN;
  const [least, most] = [Math.min(...values), Math.max(...values)];
  return seconds(least) === seconds(most) ? seconds(most) : `${seconds(least)} to ${seconds(most)}`;
}

/** How often time jumped, and how far at last. */
export function jumps(number, last) {
  if (!number || last === null || last === undefined) return count(number);
  return `${count(number)}, last ${seconds(Math.abs(last))} ${last < 0 ? "back" : "on"}`;
}

function trackRow(track) {
  const size = track.width && track.height ? `${track.width}×${track.height}` : "";
  const rate = track.fps ? `${track.fps.toFixed(1)} fps${track.declared_fps ? ` of ${track.declared_fps.toFixed(0)}` : ""}` : "";
  const sound = [
    track.sample_rate ? `${track.sample_rate / 1000} kHz` : "",
    track.channels ? { 1: "mono", 2: "stereo" }[track.channels] || `${track.channels} channels` : "",
  ];
  return [
    track.kind === "video" ? "Video" : "Audio",
    [track.codec, track.profile, track.level].filter(Boolean).join(" ") || UNKNOWN,
    [size, rate, ...sound].filter(Boolean).join(", ") || UNKNOWN,
    bitrate(track.bitrate_10s),
    `${count(track.frames)} frames`,
    track.configured ? "" : "not configured yet",
  ];
}

export class Channel {
  constructor(store, confirm, ask, back) {
    this.store = store;
    this.name = "";
    this.root = byId("view-channel");
    this.badge = makeBadge();
    this.title = make("h1", { id: "channel-name", tabindex: "-1" }, make("bdi"));
    this.record = make("button", { id: "record-channel" }, "Record");
    this.record.addEventListener("click", () => confirm.record(this.name, !this.row.records));
    this.stop = make("button", { class: "danger", id: "stop-channel" }, "Stop channel");
    this.stop.addEventListener("click", () => confirm.channel(this.row));
    this.state = make("p", { class: "state" });
    this.blockedWords = make("span");
    this.lift = make("button", { id: "lift-block" }, "Lift the block");
    this.lift.addEventListener("click", () => confirm.lift(this.name));
    this.blocked = make("p", { class: "blocked", id: "blocked" }, this.blockedWords, this.lift);
    this.findings = make("ul", { class: "findings", "aria-label": "Findings" });
    this.chart = new Chart();
    const vitals = make("dl", { class: "facts", "aria-label": "Vitals" });
    this.vitals = new Facts(vitals, VITALS);
    this.tracks = make("tbody");
    this.publisher = make("dl", { class: "facts", "aria-label": "Publisher" });
    this.from = new Facts(this.publisher, [
      ["address", "Address"],
      ["number", "Connection"],
      ["agent", "Encoder"],
      ["user", "User"],
      ["since", "Connected for"],
      ["kind", "Over"],
      ["worker", "Worker"],
    ]);
    this.recording = make("dl", { class: "facts", "aria-label": "Recording" });
    this.recorded = new Facts(this.recording, [
      ["file", "File"],
      ["written", "So far"],
      ["files", "Files"],
      ["error", "Fault"],
    ]);
    const players = make("div");
    const events = make("div");
    const link = make("a", { href: "#", class: "back" }, "← All channels");
    link.addEventListener("click", (event) => {
      event.preventDefault();
      back();
    });
    const heads = ["Track", "Codec", "Format", "Bitrate", "So far", ""].map((one) => make("th", { scope: "col" }, one || make("span", { class: "unseen" }, "Note")));
    this.body = make(
      "div",
      {},
      make("div", { class: "deep" }, this.chart.element, vitals),
      panel("Tracks", make("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Tracks" }, make("table", {}, make("thead", {}, make("tr", {}, ...heads)), this.tracks))),
      panel("Publisher", this.publisher),
      panel("Recording", this.recording),
      panel("Players", players),
    );
    this.gone = make("p", { class: "none" }, "This channel is not on the air, and nobody waits for it.");
    this.none = make("p", { class: "none" }, "Nothing so far.");
    this.root.append(
      link,
      make("div", { class: "name-line" }, this.title, this.badge, make("span", { class: "records", id: "records" }, "REC"), make("span", { class: "fill" }), this.record, this.stop),
      this.state,
      this.blocked,
      this.findings,
      this.body,
      this.gone,
      panel("Ends and refusals", events, this.none),
    );
    this.players = new Players(players, store, (row) => confirm.player(row, this.name), ask);
    this.events = new EventTable(events, store, { withChannel: false, label: "ends and refusals of this channel" });
  }

  get row() {
    return this.store.channels.get(this.name);
  }

  open(name) {
    this.name = name;
    setText(this.title.firstChild, name);
    this.players.open(name);
    this.title.focus({ preventScroll: true });
    window.scrollTo(0, 0);
  }

  render() {
    const { row } = this;
    const depth = this.store.depth && this.store.depth.channel === this.name ? this.store.depth : null;
    show(this.body, row !== undefined);
    show(this.gone, row === undefined);
    show(this.stop, row !== undefined && (row.live || row.suspended));
    show(this.record, row !== undefined && (row.live || row.records));
    show(byId("records"), row !== undefined && Boolean(row.records));
    setText(this.record, row !== undefined && row.records ? "Stop recording" : "Record");
    this.stop.disabled = this.lift.disabled = this.record.disabled = this.store.stale;
    this.showBlock();
    showBadge(this.badge, row === undefined ? "offline" : stateOf(row));
    setText(this.state, row === undefined ? "" : this.words(row));
    const detail = row !== undefined && depth && depth.found ? depth.detail : null;
    this.showFindings(row, detail);
    if (row !== undefined) this.chart.show(row.chart, detail && detail.limit);
    if (detail) this.showDetail(detail, depth.publisher);
    show(this.publisher.parentElement, Boolean(detail && depth.publisher));
    show(this.recording.parentElement, Boolean(detail && detail.recording));
    if (detail && detail.recording) this.showRecording(detail.recording);
    this.players.render();
    const events = this.store.eventsOf(this.name);
    show(this.none, events.length === 0);
    this.events.show(events);
  }

  words(row) {
    const left = remaining(row, this.store.now);
    const waits = `Waits ${left === null ? "" : `${span(left)} more `}for its publisher to come back`;
    const words = [row.live ? `On air for ${span(this.store.now - row.started)}` : row.suspended ? waits : "Nobody publishes"];
    const people = row.live || row.suspended ? many(row.players, "viewer") : many(row.players, "player waits", "players wait");
    words.push(people, ...row.tracks);
    return words.join(" · ");
  }

  showBlock() {
    const until = this.store.blockOf(this.name);
    show(this.blocked, until !== null);
    if (until === null) return;
    const call = `POST v3/channels/${encodeURIComponent(this.name)}/stop?block=0`;
    setText(this.blockedWords, `Blocked until ${clock(until)}: nobody may publish this channel. The button lifts that, and so does ${call}.`);
  }

  showFindings(row, detail) {
    const found = detail && detail.findings.length ? detail.findings : row ? [{ severity: stateOf(row), sentence: row.sentence }] : [];
    const key = JSON.stringify(found);
    if (key === this.found) return;
    this.found = key;
    this.findings.replaceChildren(
      ...found.map((one) => make("li", { "data-state": one.severity }, make("span", { class: "shape", "aria-hidden": "true" }), make("span", {}, one.sentence))),
    );
  }

  showRecording(one) {
    this.recorded.show("file", one.running ? one.file || "waits for a keyframe" : "none");
    this.recorded.show("written", `${span(one.seconds)}, ${bytes(one.written_bytes)}`);
    this.recorded.show("files", count(one.files));
    this.recorded.show("error", one.error || "none");
  }

  showDetail(detail, publisher) {
    const vitals = detail.vitals || {};
    const shown = {
      short: bitrate(vitals.bitrate_10s),
      long: bitrate(vitals.bitrate_60s),
      limit: detail.limit ? bitrate(detail.limit) : "none",
      gop: gops(vitals.gops_s),
      keyframe: before(vitals.keyframe_age_s),
      silence: before(vitals.silence_s),
      rate: vitals.media_rate === null || vitals.media_rate === undefined ? UNKNOWN : `${Math.round(vitals.media_rate * 100)} % of real time`,
      offset: offset(vitals.av_offset_s),
      jitter: seconds(vitals.jitter_s),
      jumps: jumps(vitals.jumps, vitals.last_jump_s),
      stalls: count(vitals.stalls),
      received: bytes(detail.received),
      sent: bytes(detail.sent),
      dropped: `${count(detail.dropped)} messages`,
      cache: bytes(detail.cache),
    };
    for (const [id, text] of Object.entries(shown)) this.vitals.show(id, text);
    const tracks = (vitals.tracks || []).map(trackRow);
    while (this.tracks.children.length > tracks.length) this.tracks.lastChild.remove();
    tracks.forEach((cells, index) => {
      const line = this.tracks.children[index] || this.tracks.appendChild(make("tr", {}, ...cells.map(() => make("td"))));
      cells.forEach((text, place) => setText(line.children[place], text));
    });
    if (!publisher) return;
    this.from.show("address", publisher.address);
    this.from.show("number", `#${publisher.number}`);
    this.from.show("agent", publisher.agent || UNKNOWN);
    this.from.show("user", publisher.user || UNKNOWN);
    this.from.show("since", span(this.store.now - publisher.since));
    this.from.show("kind", publisher.kind === "rtmpsConn" ? "RTMPS" : "RTMP");
    this.from.show("worker", publisher.worker || "the only one");
  }
}

function panel(title, ...children) {
  return make("section", { class: "panel", "aria-label": title }, make("h2", {}, title), ...children);
}
