// Asks before a stream or a player is ended, and tells the server. The dialog keeps the focus, Escape closes it.

import { address, byId, make, show } from "./dom.js";
import { clock, many, span } from "./words.js";

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

function said(fault) {
  return fault instanceof TypeError ? "The server does not answer." : fault.message;
}

export class Confirm {
  /** `changed()` is called when the store's blocks have. */
  constructor(store, changed) {
    this.store = store;
    this.changed = changed;
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
    if (!row.live && !row.suspended) {
      this.say(`Nobody publishes ${row.name}: there is nothing to stop.`);
      return;
    }
    const watching = row.players === 0 ? "Nobody watches it." : `${many(row.players, "viewer")} will see it end.`;
    this.open({
      title: `Stop ${row.name}?`,
      words: row.publisher ? `Its publisher is disconnected. ${watching}` : `It waits for its publisher. ${watching}`,
      label: "Afterwards",
      free: "anybody may publish it again at once",
      blocked: (time) => `nobody may publish it for ${time}`,
      yes: "Stop channel",
      done: (until) => `${row.name} was stopped.${until === null ? "" : ` Nobody may publish it until ${clock(until)}: its page can lift that.`}`,
      blocks: row.name,
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
      done: (until) => `The player ${who} was disconnected.${until === null ? "" : ` Its address may not play ${channel} until ${clock(until)}.`}`,
      url: (query) => path(["v3", `${row.kind}s`.toLowerCase(), "kick", row.id], query),
    });
  }

  /** Let a channel be recorded, or no more: nobody is asked before, since nothing is lost. */
  async record(name, wanted) {
    try {
      await post(path(["v3", "channels", name, "record", wanted ? "start" : "stop"]));
      this.say(wanted ? `${name} is recorded.` : `${name} is not recorded any more. What was recorded is kept.`);
    } catch (fault) {
      this.say(`Nothing was changed. ${said(fault)}`);
    }
  }

  /** Let everybody publish a channel again that this page has blocked. */
  async lift(name) {
    try {
      await post(path(["v3", "channels", name, "stop"], { block: 0 }));
      this.store.blocks.delete(name);
      this.say(`${name} may be published again.`);
    } catch (fault) {
      this.say(`The block is not lifted. ${said(fault)}`);
    }
    this.changed();
  }

  open(asked) {
    if (this.store.stale) {
      this.say("No connection to the server: nothing can be ended from here now.");
      return;
    }
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
    const seconds = Number(byId("block").value);
    if (seconds) query.block = String(seconds);
    if (byId("reason").value.trim()) query.reason = byId("reason").value.trim();
    try {
      await post(asked.url(query));
      const until = seconds ? this.store.now + seconds : null;
      if (asked.blocks !== undefined) {
        if (until !== null) this.store.blocks.set(asked.blocks, until);
        this.changed();
      }
      this.say(asked.done(until));
      if (this.asked === asked) this.dialog.close();
    } catch (fault) {
      byId("confirm-fault").textContent = said(fault);
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
