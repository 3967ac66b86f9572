// Buttons, keys, links to copy: what a viewer does with a page that plays.

import { byId, setText } from "./dom.js";

const STEP = 0.1; // of the volume
const IDLE_MS = 2500; // without a movement the bar goes, while it plays
const COPIED_MS = 2000;

export class Controls {
  constructor(video, player, place) {
    this.video = video;
    this.player = player;
    this.place = place;
    this.idle = 0;
    this.dressLinks();
    const buttons = {
      play: () => this.playOrPause(),
      mute: () => this.mute(),
      sound: () => this.mute(),
      delay: () => player.toLive(),
      full: () => this.full(),
      inset: () => this.inset(),
      share: () => byId("links").showModal(),
      keys: () => byId("help").showModal(),
    };
    for (const [id, act] of Object.entries(buttons)) byId(id).addEventListener("click", act);
    byId("inset").hidden = document.pictureInPictureEnabled !== true;
    byId("volume").addEventListener("input", (event) => this.setVolume(Number(event.target.value)));
    video.addEventListener("click", () => this.playOrPause());
    video.addEventListener("dblclick", () => this.full());
    for (const name of ["play", "pause", "volumechange", "loadeddata"]) video.addEventListener(name, () => this.show());
    for (const one of document.querySelectorAll("dialog .close")) {
      one.addEventListener("click", () => one.closest("dialog").close());
    }
    document.addEventListener("keydown", (event) => this.key(event));
    for (const name of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      document.addEventListener(name, () => this.moved());
    }
    this.show();
    this.moved();
  }

  playOrPause() {
    if (this.video.paused) this.player.goOn();
    else this.player.hold();
  }

  mute() {
    this.video.muted = !this.video.muted;
    if (!this.video.muted && this.video.volume === 0) this.video.volume = 0.5;
  }

  setVolume(volume) {
    this.video.volume = Math.min(Math.max(volume, 0), 1);
    this.video.muted = this.video.volume === 0;
  }

  full() {
    if (document.fullscreenElement !== null && document.fullscreenElement !== undefined) document.exitFullscreen();
    else if (byId("stage").requestFullscreen !== undefined) byId("stage").requestFullscreen().catch(() => {});
    else if (this.video.webkitEnterFullscreen !== undefined) this.video.webkitEnterFullscreen(); // iPhone
  }

  inset() {
    if (document.pictureInPictureElement) document.exitPictureInPicture();
    else this.video.requestPictureInPicture().catch(() => {}); // no picture yet
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]") !== null) return;
    if (/^(INPUT|TEXTAREA)$/.test(event.target.tagName) && event.target.type !== "range") return;
    const acts = {
      " ": () => this.playOrPause(),
      k: () => this.playOrPause(),
      m: () => this.mute(),
      f: () => this.full(),
      p: () => this.inset(),
      l: () => this.player.toLive(),
      ArrowUp: () => this.setVolume(this.video.volume + STEP),
      ArrowDown: () => this.setVolume(this.video.volume - STEP),
      "?": () => byId("help").showModal(),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const isPress = event.key === " " && event.target.tagName === "BUTTON"; // it presses that button
    if (act === undefined || isPress) return;
    event.preventDefault();
    act();
  }

  /** Let buttons say what is so. */
  show() {
    const { paused, muted, volume } = this.video;
    byId("play").setAttribute("aria-label", paused ? "Play" : "Pause");
    byId("play").dataset.is = paused ? "paused" : "playing";
    byId("mute").setAttribute("aria-label", muted ? "Sound on" : "Sound off");
    byId("mute").dataset.is = muted ? "muted" : "loud";
    byId("volume").value = String(muted ? 0 : volume);
    byId("sound").hidden = !muted || paused || this.place.isMuted || !this.player.withAudio;
  }

  moved() {
    document.body.classList.remove("idle");
    clearTimeout(this.idle);
    this.idle = setTimeout(() => {
      if (!this.video.paused && document.querySelector("#stage :focus-visible") === null) {
        document.body.classList.add("idle");
      }
    }, IDLE_MS);
  }

  dressLinks() {
    byId("only-here").hidden = !/^(localhost|127\.[\d.]+|\[::1\])$/.test(location.hostname);
    const page = this.place.link("");
    const texts = {
      "link-page": page,
      "link-flv": this.place.link(".flv"),
      "link-hls": this.place.link("/index.m3u8"),
      "link-embed": `<iframe src="${page}?embed" width="640" height="360" allow="autoplay; fullscreen; picture-in-picture" referrerpolicy="no-referrer"></iframe>`,
    };
    for (const [id, text] of Object.entries(texts)) {
      const field = byId(id);
      field.value = text;
      field.addEventListener("focus", () => field.select());
    }
    for (const button of document.querySelectorAll("button[data-copies]")) {
      button.addEventListener("click", () => copy(button, byId(button.dataset.copies)));
    }
  }
}

async function copy(button, field) {
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
  } catch {
    document.execCommand("copy"); // pages without HTTPS have no clipboard
  }
  setText(button, "Copied");
  setTimeout(() => setText(button, "Copy"), COPIED_MS);
}
