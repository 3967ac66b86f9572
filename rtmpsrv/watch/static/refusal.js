// What a refusal of the server means for who watches. Pure.

import { BAD_NAME } from "./words.js";

const NOBODY = /^nobody publishes/i; // the server has waited for a publisher long enough
const FULL = /too many|\bfull\b/i;
const RETRIED = new Set([404, 408, 425, 429, 500, 502, 503, 504]);

/** How soon to ask again: when the viewer has done something, when the publisher may have, or at growing intervals. */
export const NEVER = "never";
export const LATER = "later";
export const SOON = "soon";

/** Return [state, said, when to ask again] for a status and the server's sentence. */
export function meaning(status, sentence, hasKey) {
  if (BAD_NAME.test(sentence)) return ["name", { sentence }, NEVER]; // no key helps
  if (status === 401 || status === 403) {
    const isKey = status === 401 || hasKey || /\b(key|token)\b/i.test(sentence);
    return isKey ? ["key", { wasWrong: hasKey }, NEVER] : ["denied", { sentence }, NEVER];
  }
  if (!RETRIED.has(status)) return ["codec", { sentence }, LATER];
  if (status === 404 || NOBODY.test(sentence)) return ["offline", {}, SOON];
  if (status === 429 || FULL.test(sentence)) return ["busy", {}, SOON];
  return [status === 503 ? "connecting" : "lost", {}, SOON]; // a proxy answers for a server that is away
}
