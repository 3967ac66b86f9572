// One response of fragmented MP4 into one media source: what is read is appended in order, what is old is taken out.

const MOST_WAITING = 4 << 20; // bytes read and not appended: then reading waits, and the server with it
const KEEP_S = 10; // behind what is played
const TRIM_S = 30; // when it is so much, down to KEEP_S
const OPEN_MS = 5000;

/** Return the class to make media sources of, or null: iPhones have the managed one only. */
export function sourceClass() {
  return globalThis.ManagedMediaSource ?? globalThis.MediaSource ?? null;
}

/** Tell whether this browser can take such a stream. */
export function canTake(codec) {
  const Source = sourceClass();
  const type = `video/mp4; codecs="${codec}"`;
  return Source !== null ? Source.isTypeSupported(type) : document.createElement("video").canPlayType(type) !== "";
}

export class Feed {
  /** `appended()` is called after each append. */
  constructor(video, response, type, appended) {
    this.video = video;
    this.response = response;
    this.type = type;
    this.appended = appended;
    this.heardAt = performance.now();
    this.queue = [];
    this.waiting = 0;
    this.fault = null;
    this.isClosed = false;
    this.isOver = false; // the response has ended; what came is still played
    this.drained = null; // called when nothing waits any more
    this.url = "";
    this.buffer = null;
  }

  /** Make the media source and hand it to the video. Rejects when the browser does not take it. */
  async open() {
    const source = new (sourceClass())();
    this.url = URL.createObjectURL(source);
    this.video.disableRemotePlayback = true; // else a managed source does not open
    const opened = new Promise((resolve, reject) => {
      source.addEventListener("sourceopen", resolve, { once: true });
      setTimeout(() => reject(new Error("the media source did not open")), OPEN_MS);
    });
    this.video.src = this.url;
    await opened;
    if (this.isClosed) return;
    source.duration = Infinity;
    this.buffer = source.addSourceBuffer(this.type);
    this.buffer.addEventListener("updateend", () => {
      this.pump();
      this.appended();
    });
    this.buffer.addEventListener("error", () => this.fail(new Error("the browser cannot read the stream")));
  }

  /** Read until the response ends. Rejects when reading or appending fails. */
  async run() {
    const reader = this.response.body.getReader();
    try {
      while (!this.isClosed) {
        const { done, value } = await reader.read();
        if (this.fault !== null) throw this.fault;
        if (done) break;
        this.heardAt = performance.now();
        this.queue.push(value);
        this.waiting += value.length;
        this.pump();
        if (this.waiting > MOST_WAITING) {
          await new Promise((resolve) => {
            this.drained = resolve;
          });
        }
      }
    } finally {
      reader.cancel().catch(() => {}); // it may have broken already
    }
  }

  /** Append all that waits, if the buffer is free. */
  pump() {
    const buffer = this.buffer;
    if (buffer === null || buffer.updating || this.isClosed || this.fault !== null) return;
    if (this.queue.length === 0) {
      this.trim(TRIM_S);
      return;
    }
    const bytes = joined(this.queue, this.waiting);
    try {
      buffer.appendBuffer(bytes);
    } catch (error) {
      if (error.name === "QuotaExceededError" && this.trim(1)) {
        this.queue = [bytes];
        return; // again after the removal
      }
      this.fail(error);
      return;
    }
    this.queue = [];
    this.waiting = 0;
    this.free();
  }

  /** Take out what lies more than `seconds` behind, but for KEEP_S or less; tell whether there was something. */
  trim(seconds) {
    const ranges = this.buffer.buffered;
    if (ranges.length === 0) return false;
    const at = this.video.currentTime;
    if (at - ranges.start(0) <= seconds) return false;
    this.buffer.remove(0, at - Math.min(seconds, KEEP_S));
    return true;
  }

  /** Return what there is to play, as [start, end] in seconds. */
  ranges() {
    const buffered = this.video.buffered;
    return Array.from({ length: buffered.length }, (_, i) => [buffered.start(i), buffered.end(i)]);
  }

  fail(error) {
    this.fault ??= error;
    this.free();
  }

  free() {
    if (this.drained !== null) this.drained();
    this.drained = null;
  }

  close() {
    this.isClosed = true;
    this.free();
    if (this.url !== "") URL.revokeObjectURL(this.url);
  }
}

function joined(pieces, size) {
  if (pieces.length === 1) return pieces[0];
  const all = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}
