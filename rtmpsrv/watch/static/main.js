// The page of a channel, put together: what the player tells becomes words, pictures and fields.

import { Controls } from "./controls.js";
import { byId, setText } from "./dom.js";
import { Place } from "./place.js";
import { Player } from "./player.js";
import { SOUND_ONLY, delayInWords, inWords } from "./words.js";

const SILENT_STATES = new Set(["live"]); // nothing lies over the picture
const place = new Place();
const video = byId("video");
const still = byId("still");

document.title = place.name;
document.body.classList.toggle("embed", place.isEmbedded);
setText(byId("name"), place.name);
video.muted = place.isMuted;

const player = new Player(video, place, tell);
const controls = new Controls(video, player, place);

/** Show a state: in the badge, and over the picture where it does not move. */
function tell(state, said) {
  const isBare = state === "live" && said.isSound; // there is no picture to lie over
  const [title, sentence] = inWords(state, said);
  document.body.dataset.state = state;
  setText(byId("state"), title);
  setText(byId("title"), isBare ? SOUND_ONLY[0] : title);
  setText(byId("sentence"), isBare ? SOUND_ONLY[1] : sentence);
  setText(byId("note"), said.note);
  byId("note").hidden = !said.note;
  byId("message").hidden = SILENT_STATES.has(state) && !isBare;
  byId("key-form").hidden = state !== "key" && state !== "denied";
  byId("sound-only").hidden = !(state === "codec" && said.hasSound);
  if (state === "key" && !place.isEmbedded) byId("key").focus();
  document.title = state === "live" ? place.name : `${place.name} (${title.toLowerCase()})`;
  controls.show();
}

player.onFrame = (what) => {
  if (what === "leaving" && video.videoWidth > 0 && video.readyState >= 2) {
    still.width = video.videoWidth;
    still.height = video.videoHeight;
    still.getContext("2d").drawImage(video, 0, 0);
    still.hidden = false;
  } else if (what === "late") {
    video.poster = place.request(".jpg");
  } else if (what === "new" || what === "none") {
    still.hidden = true;
    video.removeAttribute("poster");
  }
};

byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const key = byId("key").value;
  byId("key").value = "";
  if (key === "") return;
  place.use(key);
  player.start();
});
byId("sound-only").addEventListener("click", () => player.soundOnly());

setInterval(() => {
  const delay = player.delay();
  const isKnown = document.body.dataset.state === "live" && delay !== null;
  setText(byId("delay-words"), isKnown ? delayInWords(Math.max(delay, 0)) : "");
  byId("delay").hidden = !isKnown;
}, 500);

player.start();
