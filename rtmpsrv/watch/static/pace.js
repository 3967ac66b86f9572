// How far behind the newest picture to play, and how to stay there. Pure: it looks at no clock and at no element.

export const LEAST_S = 0.1; // below it a browser stalls with each hiccup
const MOST_S = 1;
const FIRST_S = 0.15;
const STALL_S = 0.05; // a stall raises the target by so much
const QUIET_S = 0.01; // and a minute without one lowers it
const MINUTE_MS = 60000;

const NEAR_S = 0.05; // further behind than that: a little faster
const FAR_S = 0.15; // and from here on as fast as is hardly heard
const SHORT_S = 0.06; // nearer than that: a little slower
const JUMP_S = 1.5; // no rate makes up for that

export class Pace {
  constructor(now) {
    this.targetS = FIRST_S;
    this.quietSince = now;
    this.rate = 1;
  }

  /** Playing stood still for want of pictures: keep more of them from now on. */
  stalled(now) {
    this.targetS = Math.min(this.targetS + STALL_S, MOST_S);
    this.quietSince = now;
    this.rate = 1;
  }

  /** Return what to do at so many seconds behind: `rate`, and whether to `jump` to the target. */
  at(lagS, now) {
    if (now - this.quietSince > MINUTE_MS) {
      this.targetS = Math.max(this.targetS - QUIET_S, LEAST_S);
      this.quietSince = now;
    }
    const over = lagS - this.targetS;
    if (over > JUMP_S) {
      this.rate = 1;
      return { rate: 1, jump: true };
    }
    if (over > FAR_S) this.rate = 1.1;
    else if (over > NEAR_S) this.rate = Math.max(this.rate, 1.05);
    else if (over < -SHORT_S) this.rate = 0.95;
    else if ((this.rate > 1 && over <= 0) || (this.rate < 1 && over >= 0)) this.rate = 1; // no to and fro
    return { rate: this.rate, jump: false };
  }
}

/**
 * Return where to go on, or null to stay: into what there is, over a hole in it. `ranges` are [start, end] in
 * seconds; `standing`: nothing moves, so a hole is not just being filled.
 */
export function placeToPlay(ranges, at, standing) {
  if (ranges.length === 0) return null;
  const inside = ranges.findIndex(([start, end]) => at >= start && at <= end);
  if (inside < 0) {
    const later = ranges.find(([start]) => start > at);
    return later === undefined ? null : later[0];
  }
  const isAtItsEnd = ranges[inside][1] - at < 0.1;
  return standing && isAtItsEnd && inside + 1 < ranges.length ? ranges[inside + 1][0] : null;
}
