// HLS by the browser itself: where there are no media sources, or one that cannot take the codec.

import { codecsOf } from "./words.js";

const STUCK_MS = 12000; // nothing moved for so long: a browser that waits on gives no error
const LOOK_MS = 500;

export class NativeHls {
  /** `viewer`: the name that the server gave with the first playlist; one page is one viewer. */
  constructor(video, place, viewer) {
    this.video = video;
    this.fault = false;
    video.addEventListener("error", () => (this.fault = true), { once: true });
    video.src = place.request("/index.m3u8", { ...NativeHls.wanted(), ...(viewer === "" ? {} : { s: viewer }) });
  }

  /** Tell whether the browser says it can. */
  static isThere(video) {
    return video.canPlayType("application/vnd.apple.mpegurl") !== "";
  }

  /** Tell whether the browser may play a codec by it, though not otherwise. */
  static mayTake(video, codec) {
    return video.canPlayType(`video/mp4; codecs="${codec}"`) !== "";
  }

  /** Return what a multivariant playlist says: the codecs, and the name of this viewer. */
  static read(playlist) {
    const viewer = /[?&]s=([0-9a-f]+)/.exec(playlist);
    return { codecs: codecsOf(playlist), viewer: viewer === null ? "" : viewer[1] };
  }

  /** Chromium ends at the tags of low latency; Safari is what they are for. */
  static wanted() {
    return navigator.vendor.startsWith("Apple") ? {} : { ll: "no" };
  }

  /** Wait until it plays no more; `isOver` tells whether nobody wants it any more. */
  async ended(isOver) {
    let at = this.video.currentTime;
    let movedAt = performance.now();
    while (!isOver() && !this.fault && !this.video.ended) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
      if (this.video.currentTime !== at || (this.video.paused && this.video.readyState > 2)) movedAt = performance.now();
      at = this.video.currentTime;
      if (performance.now() - movedAt > STUCK_MS) return;
    }
  }
}
