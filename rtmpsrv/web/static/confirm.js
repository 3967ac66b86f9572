// Asks before a stream or a player is ended, and tells the server. The dialog keeps the focus, Escape closes it.

import { address, byId, make, show } from "./dom.js";
import { many, span } from "./words.js";

const BLOCKS_S = [0, 60, 600, 3600, 86400];
const SAID_MS = 6000;

function path(parts, query) {
  return `${parts.map(encodeURIComponent).join("/")}?${new URLSearchParams(query)}`;
}

async function post(url) {
  const answer = await fetch(address(url), { method: "POST" });
  if (answer.ok) return;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.error || `The server answers ${answer.status}.`);
}

export class Confirm {
  constructor() {
    this.dialog = byId("confirm");
    this.asked = null;
    this.timer = 0;
    byId("confirm-no").addEventListener("click", () => this.dialog.close());
    byId("confirm-yes").addEventListener("click", () => this.go());
    byId("reason").addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.go();
    });
    this.dialog.addEventListener("close", () => {
      this.asked = null;
      if (this.before && this.before.isConnected) this.before.focus();
    });
  }

  /** Ask whether a channel is to be stopped. */
  channel(row) {
    const watching = row.players === 0 ? "Nobody watches it." : `${many(row.players, "viewer")} will see it end.`;
    this.open({
      title: `Stop ${row.name}?`,
      words: row.publisher ? `Its publisher is disconnected. ${watching}` : `It waits for its publisher. ${watching}`,
      label: "Afterwards",
      free: "anybody may publish it again at once",
      blocked: (time) => `nobody may publish it for ${time}`,
      yes: "Stop channel",
      done: `${row.name} was stopped.`,
      url: (query) =>
        row.publisher
          ? path(["v3", `${row.kind}s`.toLowerCase(), "kick", row.publisher], query)
          : path(["v3", "channels", row.name, "stop"], query),
    });
  }

  /** Ask whether a player is to be disconnected. */
  player(row, channel) {
    const who = `${row.address} (#${row.number})`; // as in the log: two of one address are two
    this.open({
      title: `Disconnect ${who}?`,
      words: `This player of ${channel} is disconnected.`,
      label: "Afterwards",
      free: "it may come back at once",
      blocked: (time) => `its address may not play this channel for ${time}`,
      yes: "Disconnect player",
      done: `The player ${who} was disconnected.`,
      url: (query) => path(["v3", `${row.kind}s`.toLowerCase(), "kick", row.id], query),
    });
  }

  open(asked) {
    this.before = document.activeElement;
    this.asked = asked;
    byId("confirm-title").textContent = asked.title;
    byId("confirm-words").textContent = asked.words;
    byId("block-label").textContent = asked.label;
    byId("confirm-yes").textContent = asked.yes;
    byId("confirm-yes").disabled = false;
    byId("reason").value = "";
    show(byId("confirm-fault"), false);
    const choices = BLOCKS_S.map((value) =>
      make("option", { value: String(value) }, value === 0 ? asked.free : asked.blocked(WORDS[value] || span(value))),
    );
    byId("block").replaceChildren(...choices);
    this.dialog.showModal();
    byId("block").focus();
  }

  async go() {
    const { asked } = this;
    const yes = byId("confirm-yes");
    if (asked === null || yes.disabled) return;
    yes.disabled = true;
    const query = {};
    if (byId("block").value !== "0") query.block = byId("block").value;
    if (byId("reason").value.trim()) query.reason = byId("reason").value.trim();
    try {
      await post(asked.url(query));
      this.say(asked.done);
      if (this.asked === asked) this.dialog.close();
    } catch (fault) {
      byId("confirm-fault").textContent = fault instanceof TypeError ? "The server does not answer." : fault.message;
      show(byId("confirm-fault"), true);
      yes.disabled = false;
    }
  }

  say(words) {
    const toast = byId("toast");
    toast.textContent = words;
    toast.classList.add("said");
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      toast.classList.remove("said");
      toast.textContent = "";
    }, SAID_MS);
  }
}

const WORDS = { 60: "a minute", 600: "10 minutes", 3600: "an hour", 86400: "a day" };
