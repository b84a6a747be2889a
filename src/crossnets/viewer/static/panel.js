// Numbers: milliseconds of each step, frames a second, how sure the model is; and the row of buttons.
const get = (id) => document.getElementById(id);
const PALM = "palm";
const FINGERS = ["thumb", "index", "middle", "ring", "little"];
const OVER_MS = 1000, TEXT_EVERY_MS = 250;
const WITHIN_MM = 10; // nearly all joints are within the 20 mm of `Hand.confidence` when the hand is seen well
let past = []; // {at, stages}
let written = 0, writtenFrame = null;

export function showTransport(head, chosen) {
  const { first, last, seconds } = head.kept;
  get("pause").textContent = head.paused ? "Resume" : "Pause";
  const scrub = get("scrub");
  scrub.disabled = last < 0;
  [scrub.min, scrub.max] = [Math.max(first, 0), Math.max(last, 0)];
  scrub.value = chosen ?? last;
  const back = last > first && chosen !== null ? (seconds * (last - chosen)) / (last - first) : 0;
  get("time").textContent = head.paused ? `−${back.toFixed(2)} s` : `live, ${seconds.toFixed(0)} s`;
  const record = get("record");
  record.toggleAttribute("data-on", head.wants_recording);
  const text = head.recording !== null ? `Stop, ${head.recorded}` : head.wants_recording && head.paused ? "Records on resume" : "Record";
  record.querySelector("span").textContent = text;
  record.title = head.recording ?? (head.saved ? `saved: ${head.saved}` : "r");
  get("pictureNote").textContent = head.recording ? `recording to ${head.recording}` : head.saved ? `saved ${head.saved}` : "";
}

export function showPanel(head, frame) {
  const now = performance.now();
  if (!frame) return;
  if (frame !== writtenFrame) past.push({ at: now, stages: frame.stages_ms });
  past = past.filter(({ at }) => now - at < OVER_MS || head.paused).slice(-120);
  if (!head.paused && now - written < TEXT_EVERY_MS) return;
  if (frame === writtenFrame) return;
  [written, writtenFrame] = [now, frame];
  get("fps").textContent = frame.fps.toFixed(frame.fps < 10 ? 1 : 0);
  showSteps(frame, head.paused ? [{ stages: frame.stages_ms }] : past);
  showHands(frame, head.model !== null);
}

function showSteps(frame, over) {
  const names = Object.keys(frame.stages_ms);
  const took = names.map((name) => over.reduce((sum, { stages }) => sum + (stages[name] ?? 0), 0) / Math.max(over.length, 1));
  const rows = names.map((name, k) => [name, took[k]]);
  if (names.length) rows.push(["all", took.reduce((sum, part) => sum + part, 0)]);
  const most = Math.max(...rows.map(([, ms]) => ms), 1);
  get("steps").tBodies[0].replaceChildren(...rows.map(([name, ms]) => {
    const row = document.createElement("tr");
    row.append(make("th", name), bar(ms / most, name === "all" ? "#98a1ad" : "#4da3ff"), make("td", ms.toFixed(1), "ms"));
    return row;
  }));
  get("steps").caption.textContent = names.length ? "milliseconds a frame, mean of the last second" : "no model runs";
}

function bar(share, colour) {
  const cell = make("td", ""), line = make("div", "", "bar");
  line.style.width = `${100 * share}%`;
  line.style.background = colour;
  cell.append(line);
  return cell;
}

function showHands(frame, estimates) {
  const cards = frame.hands.map((hand) => {
    const card = make("div", "", "hand"), title = make("h2", hand.side ? `${hand.side} hand` : "hand");
    const about = [];
    if (hand.side_probability !== null) about.push(`side ${percent(hand.side_probability)}`);
    if (hand.std_mm) about.push(`± ${average(hand.std_mm).toFixed(0)} mm in each axis`);
    if (hand.size_mm !== null) about.push(`${hand.size_mm.toFixed(0)} mm long`);
    title.append(make("span", about.join(" · "), "soft"));
    card.append(title, hand.confidence ? fingers(hand) : make("p", "this model does not say how sure it is", "soft"));
    return card;
  });
  if (!cards.length) cards.push(make("p", estimates ? "no hand found" : "frames only; --model adds hands", "soft"));
  else if (frame.hands[0].confidence) cards.push(make("p", `chance that a joint is within ${WITHIN_MM} mm of the truth`, "soft"));
  get("hands").replaceChildren(...cards);
}

function fingers(hand) {
  const grid = make("div", "", "fingers");
  for (const name of [...FINGERS, PALM]) {
    const rows = hand.joints.flatMap((joint, k) => (partOf(joint) === name ? [k] : []));
    if (!rows.length) continue;
    // `Hand.confidence` is for 20 mm. It is lower where the hand's length shows that the scale is wrong.
    const sure = average(rows.map((k) => Math.min(within(WITHIN_MM / hand.std_mm[k]), hand.confidence[k])));
    const part = make("div", "", "finger"), line = make("label", name === PALM ? "wrist, palm" : name);
    const track = make("div", "", "track"), filled = make("div", "");
    line.append(make("span", percent(sure)));
    filled.style.width = `${100 * sure}%`;
    filled.style.background = `rgb(${hand.colours[rows[0]].map((c) => Math.round(255 * c)).join(",")})`;
    track.append(filled);
    part.append(line, track);
    grid.append(part);
  }
  return grid;
}

const partOf = (joint) => (FINGERS.includes(joint.split("_")[0]) ? joint.split("_")[0] : PALM);
const average = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const percent = (share) => (share > 0.99 ? "> 99 %" : `${Math.round(100 * share)} %`);

/** Probability that a normally distributed error in space is shorter than this many standard deviations. */
function within(deviations) {
  const x = deviations / Math.SQRT2;
  // The error function by Abramowitz and Stegun, 7.1.26, to 1.5e-7.
  const t = 1 / (1 + 0.3275911 * x);
  const sum = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const erf = 1 - sum * Math.exp(-x * x);
  return erf - (2 / Math.sqrt(Math.PI)) * x * Math.exp(-x * x);
}

function make(tag, text, kind = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  if (kind) element.className = kind;
  return element;
}
