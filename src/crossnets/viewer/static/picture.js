// The depth image as a lit surface, as crossnets.draw shades it, and the skeletons over it.
const FARTHEST_MM = 1500;
const NEAR = [194, 186, 176], FAR = [64, 82, 107];
const GROUND = 0xff1b1613, BEYOND = 0xff2a231e; // as bytes: red is the lowest
const MM_PER_SLOPE = 3.0;
const still = document.createElement("canvas");

/** Colours of all pixels, as 32-bit RGBA. */
export function shade({ counts, width, height, unit_mm }) {
  const limit = FARTHEST_MM / unit_mm;
  const [near, far] = range(counts, limit);
  const colours = new Uint32Array(counts.length).fill(GROUND);
  const scale = unit_mm / (12 * MM_PER_SLOPE), most = 20 / unit_mm;
  const slope = (a, b) => (a && b && a - b < most && b - a < most ? a - b : 0);
  const w = width;
  for (let v = 0, i = 0; v < height; v++) {
    const inside = v > 1 && v < height - 2;
    for (let u = 0; u < w; u++, i++) {
      const here = counts[i];
      if (!here) continue;
      if (here > limit) { colours[i] = BEYOND; continue; }
      let right = 0, down = 0;
      if (inside && u > 1 && u < w - 2) {
        right = slope(counts[i + 2], counts[i - 2]) + slope(counts[i + 2 + w], counts[i - 2 + w])
          + slope(counts[i + 2 - w], counts[i - 2 - w]);
        down = slope(counts[i + 2 * w], counts[i - 2 * w]) + slope(counts[i + 1 + 2 * w], counts[i + 1 - 2 * w])
          + slope(counts[i - 1 + 2 * w], counts[i - 1 - 2 * w]);
      }
      right *= scale; down *= scale;
      const facing = (1 + 0.5 * (right + down)) / Math.sqrt(1 + right * right + down * down);
      const light = 0.5 + 0.5 * Math.min(Math.max(facing, 0), 1);
      const behind = Math.min(Math.max((here - near) / (far - near), 0), 1);
      const r = light * (NEAR[0] + behind * (FAR[0] - NEAR[0]));
      const g = light * (NEAR[1] + behind * (FAR[1] - NEAR[1]));
      const b = light * (NEAR[2] + behind * (FAR[2] - NEAR[2]));
      colours[i] = 0xff000000 | (b << 16) | (g << 8) | r;
    }
  }
  return colours;
}

/** 1st and 99th percentile of what is near enough, in counts. */
function range(counts, limit) {
  const bins = new Uint32Array(256), width = limit / 256;
  let all = 0;
  for (let i = 0; i < counts.length; i += 3) {
    if (counts[i] && counts[i] < limit) { bins[(counts[i] / width) | 0]++; all++; }
  }
  const at = (share) => {
    let sum = 0, bin = 0;
    while (bin < 255 && (sum += bins[bin]) < share * all) bin++;
    return bin * width;
  };
  const near = at(0.01), far = at(0.99) + width;
  return [near, Math.max(far, near + 4)];
}

export function rgb(colour, alpha = 1) {
  return `rgba(${colour.map((part) => Math.round(255 * part)).join(",")},${alpha})`;
}

/** Make the canvas as fine as the screen; returns its size. */
export function fit(canvas) {
  const fine = Math.min(devicePixelRatio || 1, 2);
  const width = Math.round(canvas.clientWidth * fine), height = Math.round(canvas.clientHeight * fine);
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  return [width, height, fine];
}

export function drawPicture(canvas, frame, estimates) {
  const [width, height, fine] = fit(canvas);
  still.width = frame.width; still.height = frame.height;
  const pixels = new ImageData(new Uint8ClampedArray(frame.colours.buffer), frame.width, frame.height);
  still.getContext("2d").putImageData(pixels, 0, 0);
  const pen = canvas.getContext("2d");
  const times = Math.min(width / frame.width, height / frame.height);
  const left = (width - times * frame.width) / 2, top = (height - times * frame.height) / 2;
  pen.fillStyle = "#13161b";
  pen.fillRect(0, 0, width, height);
  pen.imageSmoothingQuality = "high";
  pen.drawImage(still, left, top, times * frame.width, times * frame.height);
  const place = ([u, v]) => [left + times * (u + 0.5), top + times * (v + 0.5)];
  for (const hand of frame.hands) drawHand(pen, hand, place, fine);
  if (estimates && !frame.hands.length) label(pen, "no hand found", 12 * fine, 24 * fine, fine);
}

function drawHand(pen, hand, place, fine) {
  const points = hand.joints_px.map(place);
  const sure = (joint) => (hand.confidence ? 0.35 + 0.65 * hand.confidence[joint] : 1);
  pen.lineCap = "round";
  for (const [width, dark] of [[5.5, true], [3, false]]) {
    for (const [parent, child] of hand.bones) {
      pen.strokeStyle = dark ? "rgba(10,12,16,0.55)" : rgb(hand.colours[child], sure(child));
      pen.lineWidth = width * fine;
      pen.beginPath(); pen.moveTo(...points[parent]); pen.lineTo(...points[child]); pen.stroke();
    }
  }
  points.forEach(([x, y], joint) => {
    pen.beginPath(); pen.arc(x, y, 3.6 * fine, 0, 7);
    pen.fillStyle = rgb(hand.colours[joint]); pen.fill();
    pen.strokeStyle = "rgba(10,12,16,0.8)"; pen.lineWidth = fine; pen.stroke();
  });
  const [x0, y0] = place(hand.box_px.slice(0, 2)), [x1, y1] = place(hand.box_px.slice(2));
  pen.strokeStyle = "rgba(230,232,235,0.45)"; pen.lineWidth = fine;
  pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
  if (hand.side) label(pen, `${hand.side} hand`, x0, Math.max(y0 - 6 * fine, 16 * fine), fine);
}

function label(pen, text, x, y, fine) {
  pen.font = `${13 * fine}px system-ui, sans-serif`;
  pen.fillStyle = "rgba(14,16,20,0.75)";
  pen.fillRect(x - 3 * fine, y - 13 * fine, pen.measureText(text).width + 6 * fine, 17 * fine);
  pen.fillStyle = "#e6e8eb";
  pen.fillText(text, x, y);
}
