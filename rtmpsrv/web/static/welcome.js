// What a newcomer sees first: nothing is live, and how to change that.

import { make } from "./dom.js";

const USUAL = { rtmp: 1935, rtmps: 443 };

function address(scheme, port) {
  const host = location.hostname || "localhost";
  return `${scheme}://${host}${port === USUAL[scheme] ? "" : `:${port}`}`;
}

function copyable(label, text) {
  const button = make("button", { class: "quiet" }, "Copy", make("span", { class: "unseen" }, ` ${label}`));
  const words = make("code", {}, text);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.firstChild.data = "Copied";
    } catch {
      window.getSelection().selectAllChildren(words); // not over plain HTTP: then by hand
    }
  });
  return make("div", { class: "copyable" }, make("span", { class: "what" }, label), words, button);
}

/** Fill the section for this server; returns what it was made for, so that it is made again only then. */
export function welcome(section, server, before) {
  const [plain] = server.ports || [];
  const [secure] = server.secure_ports || [];
  const base = plain !== undefined ? address("rtmp", plain) : address("rtmps", secure ?? USUAL.rtmps);
  const made = `${base} ${server.layout}`;
  if (made === before) return before;
  const inPath = server.layout === "app-stream";
  const obs = inPath ? [`${base}/live`, "my-channel"] : [`${base}/my-channel`, "my-secret-key"];
  const url = obs.join("/");
  const note = inPath
    ? "The stream key is the channel's name."
    : "The first part of the path is the channel. Who publishes it first chooses its key; players need the same one.";
  const local = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
  section.replaceChildren(
    make("h1", { id: "welcome-title" }, "Nothing is live yet"),
    make("p", {}, "Publish a stream and it appears here within two seconds."),
    make(
      "div",
      { class: "cards" },
      make(
        "section",
        { class: "card", "aria-label": "OBS" },
        make("h2", {}, "OBS"),
        make("p", {}, "Settings, Stream, Service: Custom"),
        copyable("Server", obs[0]),
        copyable("Stream key", obs[1]),
        make("p", { class: "hint" }, "Settings, Output: a keyframe interval of 2 s lets viewers join quickly."),
      ),
      make(
        "section",
        { class: "card", "aria-label": "Command line" },
        make("h2", {}, "ffmpeg"),
        make("p", {}, "Publish a file, and watch it"),
        copyable("Publish", `ffmpeg -re -i film.mp4 -c copy -f flv ${url}`),
        copyable("Watch", `ffplay ${url}`),
      ),
    ),
    make("p", { class: "hint" }, note),
    ...(local ? [make("p", { class: "hint" }, `From another machine use this server's own name in place of ${location.hostname}.`)] : []),
  );
  return made;
}
