// Which channel this page is for, and what is put into its requests. Secrets leave the address bar at once.

const OWN = ["embed", "hls", "muted"]; // ours: all else in the query is for the server

export class Place {
  constructor() {
    const query = new URLSearchParams(location.search);
    this.isEmbedded = query.has("embed");
    this.wantsHls = query.has("hls");
    this.isMuted = query.has("muted");
    this.path = location.pathname.replace(/\/+$/, "");
    this.name = this.path.split("/").filter((one) => one !== "").map(plain).join("/");
    const kept = history.state !== null && typeof history.state.access === "string" ? history.state.access : "";
    this.access = new URLSearchParams(kept); // survives a reload, in this tab alone
    for (const [name, value] of query) {
      if (!OWN.includes(name)) this.access.set(name, value);
    }
    this.hide(query);
  }

  /** Whether something was shown that should have opened the channel. */
  get hasKey() {
    return ["key", "token", "pass"].some((name) => this.access.has(name));
  }

  /** Use this key from now on. */
  use(key) {
    this.access.delete("token");
    this.access.set("key", key);
    this.hide(new URLSearchParams(location.search));
  }

  /** Return what to fetch: the channel's path with an ending, and what opens it. */
  request(ending, more = {}) {
    const query = new URLSearchParams(this.access);
    for (const [name, value] of Object.entries(more)) query.set(name, value);
    const text = query.toString();
    return this.path + ending + (text === "" ? "" : `?${text}`);
  }

  /** Return a link to show and to copy: never with what opens the channel. */
  link(ending) {
    return location.origin + this.path + ending;
  }

  hide(query) {
    const own = OWN.filter((name) => query.has(name));
    const shown = own.length === 0 ? this.path : `${this.path}?${own.join("&")}`;
    history.replaceState({ access: this.access.toString() }, "", shown);
  }
}

function plain(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // not UTF-8: the server knows no such channel
  }
}
