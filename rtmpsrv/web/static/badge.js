// A verdict as shape, colour and word: whoever sees no colours reads the word.

import { make, setAttribute, setText } from "./dom.js";
import { verdict } from "./words.js";

/** Make an empty badge. */
export function makeBadge() {
  return make("span", { class: "badge" }, make("span", { class: "shape", "aria-hidden": "true" }), make("span", {}));
}

/** Let a badge show a verdict. */
export function showBadge(badge, state) {
  setAttribute(badge, "data-state", state);
  setText(badge.lastChild, verdict(state).word);
}
