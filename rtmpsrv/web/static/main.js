// The page: what is told goes into the store, and the view that is open shows it.

import { Channel } from "./channel.js";
import { Channels } from "./channels.js";
import { Confirm } from "./confirm.js";
import { address, byId, make, setAttribute, setText, show } from "./dom.js";
import { Events } from "./events.js";
import { Store } from "./store.js";
import { Stream } from "./stream.js";
import { welcome } from "./welcome.js";
import { UNKNOWN, bitrate, clock, count, span } from "./words.js";

const TOTALS = [
  ["live", "Channels on air"],
  ["viewers", "Viewers"],
  ["in", "In"],
  ["out", "Out"],
  ["uptime", "Uptime"],
];

const LIST_KEYS = new Set(["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End", "Enter", "k", "K"]);

const store = new Store();
const confirm = new Confirm(store, () => render());
const channels = new Channels(store, openChannel, (row) => confirm.channel(row));
const channel = new Channel(store, confirm, ask, back);
const events = new Events(store, openChannel);
const totals = new Map();
let view = "channels";
let welcomed = "";
let blocksShown = "";
let due = 0;
let link = ["connecting", "Connecting"];
let isLost = false; // until something is heard again
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
  renderLink();
  if (!store.seen) return;
  const all = [...store.channels.values()];
  const viewers = all.reduce((sum, row) => sum + (row.live || row.suspended ? row.players : 0), 0); // who waits for nobody sees nothing
  const live = all.filter((row) => row.live).length;
  const { server } = store;
  setText(byId("version"), server.version || "");
  setText(totals.get("live"), count(live));
  setText(totals.get("viewers"), count(viewers));
  setText(totals.get("in"), bitrate(server.in));
  setText(totals.get("out"), bitrate(server.out));
  setText(totals.get("uptime"), server.started ? span(store.now - server.started) : UNKNOWN);
  const now = store.stale ? "no connection" : `${count(live)} on air`;
  const title = view === "channel" ? `${channel.name} – ${store.stale ? now : "rtmpsrv"}` : `rtmpsrv: ${now}`;
  if (document.title !== title) document.title = title;
  showNotice();
  showBlocks();
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

/** Channels that are blocked may be in no list: nobody publishes them. */
function showBlocks() {
  const names = [...store.blocks.keys()].filter((name) => store.blockOf(name) !== null);
  const key = JSON.stringify(names);
  show(byId("blocks"), view === "channels" && names.length > 0);
  if (key === blocksShown) return;
  blocksShown = key;
  const links = names.map((name) => make("a", { href: `#channel=${encodeURIComponent(name)}` }, make("bdi", {}, name)));
  byId("blocks").replaceChildren("Blocked: ", ...links.flatMap((one, index) => (index ? [", ", one] : [one])));
}

/** What is wrong with the server itself. */
function showNotice() {
  const words = [];
  const names = store.missing.filter(Boolean);
  if (store.stale) words.push(`${isLost ? "No connection to the server" : "The server does not answer"}: what is shown is as of ${clock(store.at)}.`);
  else if (names.length) words.push(`No answer from ${names.join(", ")}: what it serves may be old or missing here.`);
  for (const why of store.server.not_ready || []) words.push(why);
  setText(byId("notice"), words.join(" "));
  show(byId("notice"), words.length > 0);
}

function showLink(state, words) {
  const same = link[0] === state && link[1] === words;
  link = [state, words];
  if (state === "lost") isLost = true;
  else if (state === "live") isLost = false;
  if (!same) render();
}

/** Say how well what is shown is known: the connection may stand while the server behind it is silent. */
function renderLink() {
  let [state, words] = link;
  if (state === "live" && store.silent) [state, words] = ["lost", "The server does not answer"];
  else if (state === "live" && store.late) [state, words] = ["late", "Waiting for the server"];
  store.stale = store.seen && (isLost || store.silent);
  document.body.classList.toggle("stale", store.stale);
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

/** Let the list have the keys that are its own, wherever the focus is; tell whether this was one. */
function forList(event) {
  if (view === "channel" || !LIST_KEYS.has(event.key)) return false; // there arrows scroll
  if (event.key === "Enter" && event.target.closest("a, button")) return false;
  const table = byId(view).querySelector("[role=grid]");
  if (table.offsetParent === null || table.contains(event.target)) return false;
  const chosen = table.hasAttribute("aria-activedescendant") || !event.key.startsWith("Arrow");
  table.focus(); // which chooses the first row where none was
  if (chosen) table.dispatchEvent(new KeyboardEvent("keydown", { key: event.key }));
  return true;
}

function press(event) {
  if (event.defaultPrevented || document.querySelector("dialog[open]") !== null || event.ctrlKey || event.altKey || event.metaKey) return;
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
  } else if (!forList(event)) {
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
route();
stream.look();
