// Asks for the next frame when the last is drawn, so a slow browser misses frames but is never late.
import { Cloud } from "/cloud.js";
import { drawPicture, shade } from "/picture.js";
import { showPanel, showTransport } from "/panel.js";

const PROTOCOL = 1;
const TIMEOUT_MS = 15000;
const get = (id) => document.getElementById(id);
const cloud = new Cloud(get("cloud"), () => redraw());

let head = null; // what the server said last
let shown = null; // the frame on the screen, with its image and colours
let chosen = null; // number of a frame that was scrubbed to; null follows the camera
let pausedFrom = -1; // the version with which our pause began; answers on their way since before still say "live"
let drawing = false;

async function ask(url) {
  const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), cache: "no-store" });
  if (!answer.ok) throw new Error(await answer.text());
  const bytes = await answer.arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const said = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  if (said.frame) said.frame.counts = new Uint16Array(bytes, 4 + length);
  return said;
}

/** The version of the state that follows the command; -1 where the connection is lost. */
async function tell(command) {
  const body = JSON.stringify(command);
  try {
    const answer = await fetch("/command", { method: "POST", headers: { "Content-Type": "application/json" }, body });
    return (await answer.json()).version;
  } catch {
    return -1;
  }
}

function show(frame) {
  if (!frame || (shown && shown.number === frame.number && shown.time_s === frame.time_s)) return;
  frame.colours = shade(frame);
  shown = frame;
}

function redraw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (shown) {
      drawPicture(get("picture"), shown, head.model !== null);
      cloud.draw(shown);
      document.body.dataset.frame = shown.number; // what is on the screen now
    }
    if (head) showPanel(head, shown);
  });
}

function say(kind, text) {
  get("status").dataset.kind = kind;
  get("status").textContent = text;
}

function showHead() {
  const frame = head.frame;
  const size = frame ? `${frame.width} × ${frame.height}` : "no frame yet";
  get("about").textContent = `${head.source} · ${size} · ${head.model === null ? "frames only" : `model ${head.model}`}`;
  if (head.message) say("lost", frame ? "no new frames" : "no frames");
  else if (head.paused) say("paused", "paused");
  else say("live", "live");
  const message = head.message || head.record_error || head.warning;
  get("message").hidden = !message;
  get("message").textContent = message;
  if (!head.paused) chosen = null;
  showTransport(head, chosen);
}

async function follow() {
  let version = -1;
  for (;;) {
    try {
      const said = await ask(`/next?after=${version}`);
      if (said.protocol !== PROTOCOL) return say("lost", "crossnets was updated: reload this page");
      version = said.version;
      head = said;
      if (said.version < pausedFrom) head.paused = true;
      showHead();
      if (chosen === null) show(said.frame);
      redraw();
      await new Promise(requestAnimationFrame);
    } catch (error) {
      version = pausedFrom = -1; // it may be another process with other versions
      say("lost", "connection lost, trying again");
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

let wanted = null; // the newest place asked for; those between are skipped
let fetching = false;
async function scrubTo(number) {
  if (!head || head.kept.first < 0) return;
  wanted = Math.min(Math.max(number, head.kept.first), head.kept.last);
  chosen = wanted;
  if (!head.paused) {
    head.paused = true;
    pausedFrom = Infinity;
    pausedFrom = await tell({ pause: true });
  }
  if (fetching) return;
  fetching = true;
  try {
    while (wanted !== null) {
      const number = wanted;
      wanted = null;
      const said = await ask(`/frame?number=${number}`);
      show(said.frame);
      showTransport({ ...head, kept: said.kept }, number);
      redraw();
    }
  } catch { /* the loop of follow() says that the connection is lost */ }
  fetching = false;
}

const pause = () => head && tell({ pause: !head.paused });
const record = () => head && tell({ record: !head.wants_recording });
get("pause").onclick = pause;
get("record").onclick = record;
get("scrub").oninput = (event) => scrubTo(Number(event.target.value));
addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return; // the cloud turns by arrows
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === " " && event.target.tagName !== "BUTTON") event.repeat || pause();
  else if (event.key === "r") event.repeat || record();
  else if (step && event.target.id !== "scrub") scrubTo((chosen ?? head?.kept.last ?? 0) + step);
  else return;
  event.preventDefault();
});
addEventListener("resize", redraw);
follow();
