// Numbers as people read them, each with its unit. Pure.

const THOUSANDS = ["", "k", "M", "G", "T", "P"];
export const UNKNOWN = "–";
const NARROW = "\u00a0"; // keeps a number and its unit on one line

function scaled(value, unit) {
  let step = 0;
  let rest = value;
  while (rest >= 999.5 && step < THOUSANDS.length - 1) {
    rest /= 1000;
    step += 1;
  }
  const digits = step === 0 || rest >= 99.95 ? 0 : rest >= 9.995 ? 1 : 2;
  return `${rest.toFixed(digits)}${NARROW}${THOUSANDS[step]}${unit}`;
}

/** 4500000 is "4.50 Mb/s". */
export function bitrate(value) {
  return value === null || value === undefined ? UNKNOWN : scaled(value, "b/s");
}

/** 330000000 is "330 MB". */
export function bytes(value) {
  return value === null || value === undefined ? UNKNOWN : scaled(value, "B");
}

/** 5000 is "5,000". */
export function count(value) {
  return value === null || value === undefined ? UNKNOWN : value.toLocaleString("en");
}

/** "1 viewer", "2 viewers". */
export function many(value, one, several = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : several}`;
}

/** A short span: 0.0123 is "12 ms", 5.32 is "5.3 s". */
export function seconds(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const size = Math.abs(value);
  if (size < 0.0005) return `0${NARROW}s`;
  if (size < 0.9995) return `${Math.round(value * 1000)}${NARROW}ms`;
  return size >= 120 ? span(value) : `${value.toFixed(size < 9.95 ? 1 : 0)}${NARROW}s`;
}

/** A long span: 3725 is "1 h 02 min". */
export function span(value) {
  if (value === null || value === undefined) return UNKNOWN;
  const all = Math.max(0, Math.floor(value));
  const two = (number) => String(number).padStart(2, "0");
  if (all < 60) return `${all}${NARROW}s`;
  if (all < 3600) return `${Math.floor(all / 60)}${NARROW}min ${two(all % 60)}${NARROW}s`;
  if (all < 86400) return `${Math.floor(all / 3600)}${NARROW}h ${two(Math.floor(all / 60) % 60)}${NARROW}min`;
  return `${Math.floor(all / 86400)}${NARROW}d ${two(Math.floor(all / 3600) % 24)}${NARROW}h`;
}

/** How long ago a moment was, in its largest unit. */
export function ago(value) {
  if (value < 5) return "just now";
  if (value < 60) return `${Math.floor(value)} s ago`;
  if (value < 3600) return `${Math.floor(value / 60)} min ago`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ago`;
  return `${Math.floor(value / 86400)} d ago`;
}

/** A moment in the reader's own time zone, for who points at it. */
export function moment(at) {
  return new Date(at * 1000).toLocaleString();
}

/** A moment of today as a clock shows it, of another day with its date. */
export function clock(at) {
  const then = new Date(at * 1000);
  return then.toDateString() === new Date().toDateString() ? then.toLocaleTimeString() : then.toLocaleString();
}

const FORMS = { rtmp: "RTMP", flv: "FLV", "ws-flv": "WS-FLV", mp4: "MP4", "ws-mp4": "WS-MP4", hls: "HLS" };

/** What a player gets, and over what. */
export function form(row) {
  if (row.kind === "rtmpsConn") return "RTMPS";
  return FORMS[row.form] || row.form || UNKNOWN;
}

export const VERDICTS = {
  suspended: { word: "Fell off", rank: -1 },
  bad: { word: "Bad", rank: 0 },
  warning: { word: "Warning", rank: 1 },
  starting: { word: "Starting", rank: 2 },
  good: { word: "Good", rank: 3 },
  offline: { word: "Off air", rank: 4 },
};

/** What a row shows as its verdict: of a stream that fell off that is the worst there is, its viewers see nothing. */
export function stateOf(row) {
  return row.suspended ? "suspended" : row.verdict;
}

/** How long a stream that fell off is waited for still; null where nobody says. */
export function remaining(row, now) {
  return row.suspended && row.waits ? Math.max(0, row.waits - now) : null;
}

/** The verdict's word and rank, worst first; what is not known yet is taken for starting. */
export function verdict(state) {
  return VERDICTS[state] || VERDICTS.starting;
}
