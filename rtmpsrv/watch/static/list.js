// The list of channels: those on the air now, asked for again from time to time while somebody looks.

import { byId, make, setText } from "./dom.js";

const EACH_MS = 5000;
const cards = new Map(); // by name

async function look() {
  if (document.hidden) return;
  let answer;
  try {
    const response = await fetch("/?format=json", { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    answer = await response.json();
  } catch {
    say("No connection", "The server does not answer. Trying again.");
    return;
  }
  show(answer);
}

function show(answer) {
  const names = answer.channels.map((one) => one.name);
  for (const [name, card] of cards) {
    if (names.includes(name)) continue;
    card.remove();
    cards.delete(name);
  }
  for (const one of answer.channels) {
    if (!cards.has(one.name)) cards.set(one.name, cardOf(one));
    byId("channels").append(cards.get(one.name)); // in the order of the answer
  }
  if (!answer.listed) say("Channels are not listed here", "Open the link that you were given, or go to a channel by its name.");
  else if (names.length === 0) say("Nothing is live", "Nobody is broadcasting right now. What begins is shown here by itself.");
  else say("", "");
}

function say(title, sentence) {
  byId("empty").hidden = title === "";
  setText(byId("empty-title"), title);
  setText(byId("empty-sentence"), sentence);
}

function cardOf(one) {
  const path = pathOf(one.name);
  const image = make("img", { src: `${path}.jpg`, alt: "", loading: "lazy", width: "320", height: "180" });
  image.addEventListener("error", () => image.classList.add("none")); // sound alone, or no picture yet
  return make("li", {}, make("a", { href: path, class: "card" }, image, make("span", { class: "title" }, one.name)));
}

function pathOf(name) {
  return `/${name.split("/").map(encodeURIComponent).join("/")}`;
}

byId("go").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = byId("channel").value.trim();
  if (name !== "") location.assign(pathOf(name));
});
document.addEventListener("visibilitychange", look);
setInterval(look, EACH_MS);
look();
