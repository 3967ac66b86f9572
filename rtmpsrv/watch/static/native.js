// HLS by the browser itself: where there are no media sources, or one that cannot take the codec.

const STUCK_MS = 12000; // nothing moved for so long: a browser that waits on gives no error
const LOOK_MS = 500;

export class NativeHls {
  constructor(video, place) {
    this.video = video;
    this.fault = false;
    video.addEventListener("error", () => (this.fault = true), { once: true });
    video.src = place.request("/index.m3u8", NativeHls.wanted());
  }

  /** Tell whether the browser says it can. */
  static isThere(video) {
    return video.canPlayType("application/vnd.apple.mpegurl") !== "";
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
