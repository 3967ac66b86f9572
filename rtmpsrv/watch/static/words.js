// What is told to people: names of codecs, and a title and a sentence for each state. Pure.

const CODECS = [
  [/^avc[13]/i, "H.264"],
  [/^(hvc1|hev1)/i, "HEVC (H.265)"],
  [/^av01/i, "AV1"],
  [/^vp09/i, "VP9"],
  [/^vp08/i, "VP8"],
  [/^(vvc1|vvi1)/i, "VVC (H.266)"],
  [/^(mp3|mp4a\.40\.34|mp4a\.6[9b])/i, "MP3"],
  [/^mp4a/i, "AAC"],
  [/^opus/i, "Opus"],
  [/^flac/i, "FLAC"],
  [/^ac-3/i, "AC-3"],
  [/^ec-3/i, "E-AC-3"],
];
const PICTURES = /^(avc|hvc1|hev1|av01|vp0|vvc|vvi)/i;
/** How the server's sentence about a name begins that no channel can have. */
export const BAD_NAME = /^invalid (application|channel|stream) name:\s*/i;
/** [title, sentence] where sound is played, and no picture comes that can be in MP4. */
export const SOUND_ONLY = ["Sound only", "No picture comes that a browser could play."];
const LONGEST = 200; // characters of a server's own sentence

/** Return the name of a codec as people know it. */
export function codecName(codec) {
  const found = CODECS.find(([pattern]) => pattern.test(codec));
  return found === undefined ? codec : found[1];
}

/** Tell whether a codec is one of pictures. */
export function isPicture(codec) {
  return PICTURES.test(codec);
}

/** Return the codecs that a Content-Type names. */
export function codecsOf(type) {
  const found = /codecs="?([^"]*)"?/i.exec(type);
  return found === null ? [] : found[1].split(",").map((one) => one.trim()).filter((one) => one !== "");
}

const STATES = {
  connecting: ["Connecting", ""],
  live: ["Live", ""],
  stalled: ["Waiting for the stream", "Nothing arrives at the moment."],
  paused: ["Paused", "Goes on live."],
  offline: ["Offline", "Nobody is broadcasting here right now. It starts by itself."],
  lost: ["No connection", "The server does not answer. Trying again."],
  busy: ["Please wait", "The server has no room for one more viewer right now. Trying again."],
  key: ["A key is needed", "This channel is only for those who have its key."],
  name: ["No such channel", "A channel cannot have this name."],
  denied: ["No access", "This channel may not be watched from here."],
  codec: ["Cannot be played here", ""],
};

/** Return [title, sentence] of a state; `said` is what else is known: a sentence of the server, or codecs. */
export function inWords(state, said = {}) {
  const [title, sentence] = STATES[state];
  if (state === "codec" && said.codecs !== undefined) return [title, cannotPlay(said.codecs)];
  if (state === "key" && said.wasWrong) return ["The key does not fit", "It is wrong, or no longer good."];
  const old = /^(.+) cannot be in MP4$/.exec(said.sentence ?? "");
  if (state === "codec" && old !== null) return [title, `The stream is ${old[1].slice(0, LONGEST)}, which no browser plays.`];
  if (state === "name") return [title, `${sentence} ${asSentence(said.sentence.replace(BAD_NAME, ""))}`];
  return [title, said.sentence ? asSentence(said.sentence) : sentence];
}

/** Return the server's words with a capital and a full stop. */
function asSentence(words) {
  const text = words.slice(0, LONGEST);
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?)]$/.test(text) || words.length >= LONGEST ? "" : ".");
}

/** Say which part of a stream this browser cannot play. */
export function cannotPlay(codecs) {
  const parts = codecs.map((one) => `${isPicture(one) ? "picture" : "sound"} is ${codecName(one)}`);
  return `The ${parts.join(" and the ")}, which this browser cannot play.`;
}

/** Say that the sound is left out, and why. */
export function pictureOnly(codecs) {
  return `${cannotPlay(codecs)} Picture only.`;
}

/** Return a delay in words. */
export function delayInWords(seconds) {
  return seconds < 10 ? `${seconds.toFixed(1)} s` : `${Math.round(seconds)} s`;
}
