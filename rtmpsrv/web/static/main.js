// The page: what is told goes into the store, and the view that is open shows it.

import { Channel } from "./channel.js";
import { Channels } from "./channels.js";
import { Confirm } from "./confirm.js";
import { address, byId, make, setAttribute, setText, show } from "./dom.js";
import { Events } from "./events.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { welcome } from "./welcome.js";
import { UNKNOWN, bitrate, count, span } from "./words.js";

const TOTALS = [
  ["live", "Channels on air"],
  ["viewers", "Viewers"],
  ["in", "In"],
  ["out", "Out"],
  ["uptime", "Uptime"],
];

const store = new Store();
const confirm = new Confirm();
const channels = new Channels(store, openChannel, (row) => confirm.channel(row));
const channel = new Channel(store, confirm, ask, back);
const events = new Events(store, openChannel);
const totals = new Map();
let view = "channels";
let welcomed = "";
let due = 0;
let scrolled = 0; // where the list stood when a channel was opened

const stream = new Stream(hear, showLink);

for (const [id, term] of TOTALS) {
  const value = make("dd", { id: `total-${id}` }, UNKNOWN);
  byId("totals").append(make("div", {}, make("dt", {}, term), value));
  totals.set(id, value);
}

function hear(kind, message) {
  if (kind === "picture") {
    store.picture(message);
    if (view === "channel") channel.players.again();
  } else if (kind === "changes") {
    store.changes(message);
  } else {
    store.deepen(message);
  }
  if (!due) due = requestAnimationFrame(render);
}

/** Tell the server what is looked at; without a connection it is told when there is one. */
async function ask(wanted) {
  if (!store.listener) return;
  const body = JSON.stringify({ listener: store.listener, ...wanted });
  try {
    await fetch(address("events/view"), { method: "POST", headers: { "Content-Type": "application/json" }, body });
  } catch {
    // the stream is broken as well, then: it says so, and asks again when it is there
  }
}

function render() {
  due = 0;
  if (!store.seen) return;
  const all = [...store.channels.values()];
  const viewers = all.reduce((sum, row) => sum + row.players, 0);
  const live = all.filter((row) => row.live).length;
  const { server } = store;
  setText(byId("version"), server.version || "");
  setText(totals.get("live"), count(live));
  setText(totals.get("viewers"), count(viewers));
  setText(totals.get("in"), bitrate(server.in));
  setText(totals.get("out"), bitrate(server.out));
  setText(totals.get("uptime"), server.started ? span(store.now - server.started) : UNKNOWN);
  const title = view === "channel" ? `${channel.name} – rtmpsrv` : `rtmpsrv: ${count(live)} on air`;
  if (document.title !== title) document.title = title;
  showNotice();
  const empty = all.length === 0;
  show(byId("view-welcome"), view === "channels" && empty);
  show(byId("view-channels"), view === "channels" && !empty);
  show(byId("view-channel"), view === "channel");
  show(byId("view-events"), view === "events");
  setAttribute(byId("tab-channels"), "aria-current", view === "channels" ? "page" : null);
  setAttribute(byId("tab-events"), "aria-current", view === "events" ? "page" : null);
  if (view === "channel") channel.render();
  else if (view === "events") events.render();
  else if (empty) welcomed = welcome(byId("view-welcome"), server, welcomed);
  else channels.render();
}

/** What is wrong with the server itself. */
function showNotice() {
  const words = [];
  if (store.missing.length) {
    const names = store.missing.filter(Boolean);
    words.push(names.length ? `No answer from ${names.join(", ")}: what it serves may be old or missing here.` : "The server does not answer: what is shown is old.");
  }
  for (const why of store.server.not_ready || []) words.push(why);
  setText(byId("notice"), words.join(" "));
  show(byId("notice"), words.length > 0);
}

function showLink(state, words) {
  setAttribute(byId("link"), "data-state", state);
  setText(byId("link-words"), words);
}

function openChannel(row) {
  scrolled = window.scrollY;
  location.hash = `channel=${encodeURIComponent(row.name)}`;
}

function back() {
  location.hash = "";
}

/** Show what the address says; the browser's own back works, and an address may be kept. */
function route() {
  const hash = location.hash.slice(1);
  const before = view;
  if (hash.startsWith("channel=")) {
    let name = hash.slice(8);
    try {
      name = decodeURIComponent(name);
    } catch {
      // as it is: somebody typed it
    }
    view = "channel";
    store.depth = null;
    render();
    channel.open(name);
  } else {
    view = hash === "events" ? "events" : "channels";
    channel.players.close();
    if (before === "channel") ask({ channel: "" });
  }
  render();
  if (before === "channel" && view === "channels") {
    window.scrollTo(0, scrolled);
    byId("channels").querySelector("[role=grid]").focus({ preventScroll: true });
  }
}

function filterInSight() {
  return [byId("filter"), byId("filter-events"), byId("filter-players")].find((one) => one.offsetParent !== null);
}

function press(event) {
  if (document.querySelector("dialog[open]") !== null || event.ctrlKey || event.altKey || event.metaKey) return;
  const typing = event.target.matches("input, select, textarea");
  if (event.key === "Escape") {
    const field = filterInSight();
    if (field && field.value !== "") {
      field.value = "";
      field.dispatchEvent(new Event("input"));
    } else if (typing) {
      event.target.blur();
    } else if (view !== "channels") {
      back();
    } else {
      return;
    }
  } else if (typing) {
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    if (event.target.type !== "search") return;
    event.target.closest("section, main").querySelector("[role=grid]").focus();
  } else if (event.key === "/") {
    const field = filterInSight();
    if (!field) return;
    field.focus();
    field.select();
  } else if (event.key === "?") {
    byId("help").showModal();
  } else {
    return;
  }
  event.preventDefault();
}

document.addEventListener("keydown", press);
window.addEventListener("hashchange", route);
byId("show-help").addEventListener("click", () => byId("help").showModal());
byId("help-close").addEventListener("click", () => byId("help").close());
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  const grid = [...document.querySelectorAll("main [role=grid]")].find((one) => one.offsetParent !== null);
  (grid || byId("content")).focus();
});
setText(byId("link-words"), "Connecting");
route();
stream.look();
