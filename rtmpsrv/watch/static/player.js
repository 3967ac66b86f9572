// Plays a channel for as long as the page is there: asks for it, plays it, waits for it, and tells how it goes.

import { Feed, canTake, sourceClass } from "./feed.js";
import { NativeHls } from "./native.js";
import { Pace, placeToPlay } from "./pace.js";
import { LATER, NEVER, meaning } from "./refusal.js";
import { codecsOf, isPicture, pictureOnly } from "./words.js";

const TICK_MS = 100;
const OFFLINE_MS = 1500; // no head of a response by then: nobody is on the air
const HEAD_MS = 55000; // proxies give up at 60 s
const SILENT_MS = 30000; // a stream that sends nothing for so long is asked for again
const STALLED_MS = 400; // a shorter one is not worth a word
const PICTURE_MS = 200; // without a frame by then the still picture is asked for
const UNPLAYABLE_MS = 15000; // until the publisher may have chosen another codec
const ASLEEP_MS = 60000; // hidden and silent, or paused: nothing is fetched any more
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8000;

export class Player {
  /** `tell(state, said)` is called when the state changes; `said.note` is a sentence beside a playing stream. */
  constructor(video, place, tell) {
    this.video = video;
    this.place = place;
    this.tell = tell;
    this.now = ""; // the state told last
    this.turn = 0; // a loop goes on only while it is the newest
    this.abort = null;
    this.feed = null;
    this.pace = new Pace(performance.now());
    this.withVideo = true;
    this.withAudio = true;
    this.waitMs = FIRST_WAIT_MS;
    this.isAsleep = false; // nothing is fetched, until somebody looks
    this.isRefused = false; // nor then: it is for the viewer to do something
    this.isHeld = false; // paused by the viewer
    this.restAt = 0; // since when nobody sees or hears it
    this.standsSince = 0;
    this.starts = 0; // jumps to the live end before the first frame
    this.hasFrame = false;
    this.note = "";
    this.isSound = false; // what is played has no picture
    this.brokenHls = ""; // the codecs with which the browser's own HLS failed: once is enough
    this.onFrame = () => {};
    for (const [name, heard] of [["playing", this.playing], ["waiting", this.stands], ["error", this.broken]]) {
      video.addEventListener(name, heard.bind(this));
    }
    video.addEventListener("play", () => this.wake());
    document.addEventListener("visibilitychange", () => this.look());
    window.addEventListener("pagehide", () => this.leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.wake());
    setInterval(() => this.tick(), TICK_MS);
  }

  /** Begin, or begin anew with what is wanted now. */
  start() {
    this.stop();
    this.isAsleep = this.isRefused = false;
    this.waitMs = FIRST_WAIT_MS;
    if (this.now !== "live") this.say("connecting");
    this.go(this.turn);
  }

  /** End what goes on; the last picture stays. */
  stop() {
    this.turn += 1;
    if (this.abort !== null) this.abort.abort();
    if (this.feed !== null) this.feed.close();
    this.abort = null;
    this.feed = null;
  }

  /** Play the sound alone, where the picture cannot be played. */
  soundOnly() {
    this.withVideo = false;
    this.start();
  }

  /** Return how many seconds lie between what is played and the newest that came; null: not known. */
  delay() {
    const ranges = this.feed === null ? [] : this.feed.ranges();
    return ranges.length === 0 || !this.hasFrame ? null : ranges.at(-1)[1] - this.video.currentTime;
  }

  /** Pause, as the viewer wants it. */
  hold() {
    this.isHeld = true;
    this.video.pause();
  }

  /** Go on after that, live. */
  goOn() {
    this.isHeld = false;
    this.wake();
    this.begin();
  }

  /** Go to the newest picture. */
  toLive() {
    const ranges = this.feed === null ? [] : this.feed.ranges();
    if (ranges.length > 0) this.video.currentTime = Math.max(ranges.at(-1)[0], ranges.at(-1)[1] - this.pace.targetS);
  }

  async go(turn) {
    while (turn === this.turn) {
      const waitMs = await this.once(turn).catch((error) => this.failed(turn, error));
      if (waitMs < 0 || turn !== this.turn) return;
      await new Promise((resolve) => setTimeout(resolve, waitMs));
    }
  }

  /** One request from its start to its end; returns how many ms to wait before the next, -1 for none. */
  async once(turn) {
    if (this.place.wantsHls || sourceClass() === null) return this.hls(turn);
    const abort = new AbortController();
    this.abort = abort;
    const late = setTimeout(() => turn === this.turn && this.say("offline"), OFFLINE_MS);
    const never = setTimeout(() => abort.abort(new DOMException("no answer", "TimeoutError")), HEAD_MS);
    let response;
    try {
      response = await fetch(this.place.request(".mp4", this.wanted()), { signal: abort.signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "TimeoutError") return 0; // still offline
      throw error;
    } finally {
      clearTimeout(late);
      clearTimeout(never);
    }
    if (turn !== this.turn) return -1;
    if (!response.ok) return this.refused(turn, response);
    const type = response.headers.get("Content-Type") ?? "";
    const missing = codecsOf(type).filter((one) => !canTake(one));
    if (missing.length > 0) {
      abort.abort();
      return this.unplayable(turn, codecsOf(type), missing);
    }
    this.isSound = this.withVideo && !codecsOf(type).some(isPicture);
    return this.play(turn, response, type);
  }

  async play(turn, response, type) {
    const feed = new Feed(this.video, response, type, () => this.caughtUp());
    const began = performance.now();
    this.onFrame("leaving"); // what is seen now stays until there is something new
    if (this.feed !== null) this.feed.close();
    this.feed = feed;
    this.hasFrame = false;
    this.starts = 0;
    this.standsSince = 0;
    this.pace.rate = 1;
    this.video.playbackRate = 1;
    const picture = setTimeout(() => turn === this.turn && !this.hasFrame && this.onFrame("late"), PICTURE_MS);
    try {
      await feed.open();
      this.begin();
      await feed.run();
    } finally {
      clearTimeout(picture);
      feed.isOver = true;
    }
    this.withAudio = true; // the next one may have another codec
    this.note = "";
    this.isSound = false;
    // A response that ends at once, again and again, is none to be asked for at once.
    if (performance.now() - began > 1000) this.waitMs = FIRST_WAIT_MS;
    return performance.now() - began > 1000 ? 0 : this.wait();
  }

  wanted() {
    return { ...(this.withAudio ? {} : { audio: "no" }), ...(this.withVideo ? {} : { video: "no" }) };
  }

  /** Start playing, without sound where a browser allows no other start. */
  begin() {
    if (this.isHeld) return;
    this.video.play().catch((error) => {
      if (error.name !== "NotAllowedError" || this.video.muted) return; // another source came in between
      this.video.muted = true;
      this.video.play().catch(() => {}); // then it waits for a click
    });
  }

  /** After an append: before the first frame go to the live end, which is where a burst of pictures has ended. */
  caughtUp() {
    if (this.hasFrame || this.feed === null || this.feed.waiting > 0) return;
    const ranges = this.feed.ranges();
    if (ranges.length === 0) return;
    const [start, end] = ranges.at(-1);
    const wanted = Math.max(start, end - this.pace.targetS);
    const at = this.video.currentTime;
    if (at < start || (wanted - at > 0.2 && this.starts < 3)) {
      this.starts += 1;
      this.video.currentTime = wanted;
    }
  }

  tick() {
    this.rested();
    const feed = this.feed;
    if (feed === null) return;
    const now = performance.now();
    if (!feed.isOver && now - feed.heardAt > SILENT_MS) {
      this.start(); // what is at the other end may be gone without a word
      return;
    }
    if (this.video.paused) return;
    const standing = this.standsSince > 0;
    const ranges = feed.ranges();
    const place = placeToPlay(ranges, this.video.currentTime, standing);
    if (place !== null) this.video.currentTime = place;
    if (standing && now - this.standsSince > STALLED_MS && this.hasFrame && this.now === "live") this.say("stalled");
    const delay = this.delay();
    if (delay === null || standing) return; // nothing is chased before the first picture, or while there is none
    const { rate, jump } = this.pace.at(delay, now);
    if (jump) this.toLive();
    if (this.video.playbackRate !== rate) this.video.playbackRate = rate;
  }

  playing() {
    this.standsSince = 0;
    if (!this.hasFrame) {
      this.hasFrame = true;
      this.onFrame("new");
    }
    this.waitMs = FIRST_WAIT_MS;
    this.say("live");
  }

  stands() {
    if (this.feed === null || this.standsSince > 0 || this.video.seeking) return;
    this.standsSince = performance.now();
    if (this.hasFrame && !this.feed.isOver) this.pace.stalled(this.standsSince);
  }

  broken() {
    // The source is of no use any more: reading ends, and the loop asks again.
    if (this.feed !== null) this.feed.fail(new Error("the browser cannot play on"));
    if (this.abort !== null && this.feed !== null) this.abort.abort();
  }

  failed(turn, error) {
    if (turn !== this.turn) return -1;
    if (error instanceof TypeError) this.say("lost"); // fetch's way to say that there is no server
    return this.wait();
  }

  async refused(turn, response) {
    const text = (response.headers.get("Content-Type") ?? "").startsWith("text/plain") ? await response.text() : "";
    if (turn !== this.turn) return -1;
    const [state, said, when] = meaning(response.status, text.trim(), this.place.hasKey);
    if (state === "codec") this.onFrame("none");
    this.say(state, said);
    this.isRefused = when === NEVER;
    if (this.isRefused) return -1;
    return when === LATER ? UNPLAYABLE_MS : this.wait();
  }

  unplayable(turn, codecs, missing) {
    const rest = codecs.filter((one) => !missing.includes(one));
    if (rest.some(isPicture) && this.withAudio) {
      this.withAudio = false;
      this.note = pictureOnly(missing);
      return 0;
    }
    const isNew = this.brokenHls !== missing.join();
    if (isNew && missing.every((one) => NativeHls.mayTake(this.video, one)) && NativeHls.isThere(this.video)) {
      return this.hls(turn, codecs, missing);
    }
    return this.cannot(codecs, missing);
  }

  cannot(codecs, missing) {
    this.onFrame("none");
    this.say("codec", { codecs: missing, hasSound: codecs.length > missing.length });
    return UNPLAYABLE_MS;
  }

  /** Play by the browser's own HLS; `codecs` and those that are `missing` otherwise, where they are known. */
  async hls(turn, codecs = null, missing = null) {
    const response = await fetch(this.place.request("/index.m3u8", NativeHls.wanted()), { cache: "no-store" });
    if (turn !== this.turn) return -1;
    if (!response.ok) return this.refused(turn, response);
    const said = NativeHls.read(await response.text());
    if (turn !== this.turn) return -1;
    this.hasFrame = false;
    const began = performance.now();
    const native = new NativeHls(this.video, this.place, said.viewer);
    this.begin();
    await native.ended(() => turn !== this.turn);
    if (turn !== this.turn) return -1;
    const all = codecs ?? said.codecs;
    const wrong = missing ?? all.filter((one) => !canTake(one));
    const isShort = performance.now() - began < UNPLAYABLE_MS; // what played may have been another publisher's
    if (!this.video.ended && isShort && wrong.length > 0) {
      this.brokenHls = wrong.join();
      return this.cannot(all, wrong);
    }
    this.say("offline");
    return this.wait();
  }

  wait() {
    const waitMs = this.waitMs * (0.8 + 0.4 * Math.random()); // not all viewers at once
    this.waitMs = Math.min(this.waitMs * 2, LONGEST_WAIT_MS);
    return waitMs;
  }

  say(state, said = {}) {
    const all = { ...said, note: this.note, isSound: this.isSound };
    const words = JSON.stringify([state, all]);
    if (words === this.toldWords) return;
    this.toldWords = words;
    this.now = state;
    this.tell(state, all);
  }

  /** Stop fetching when nobody has seen or heard it for a while. */
  rested() {
    const isResting = this.video.paused || (document.hidden && this.video.muted);
    if (!isResting || this.isAsleep) this.restAt = 0;
    else if (this.restAt === 0) this.restAt = performance.now();
    else if (performance.now() - this.restAt > ASLEEP_MS) this.rest();
  }

  rest() {
    if (this.feed !== null) this.leave(); // else it waits for a publisher, and shall not miss one
  }

  /** End all requests: a page that the browser keeps to go back to would hold its place at the server. */
  leave() {
    if (this.isRefused) return;
    this.isAsleep = true;
    this.onFrame("leaving");
    this.stop();
    this.say("paused");
  }

  /** Somebody looks or wants to play: go on, live. */
  wake() {
    if (this.isAsleep) this.start();
    else if (this.delay() > 1) this.toLive();
  }

  look() {
    if (document.hidden || this.isHeld) return;
    this.wake();
    if (this.video.paused && this.feed !== null) this.begin();
  }
}
