// The depth image as points in space, drawn without a graphics card, and the skeletons in it.
import { fit, rgb } from "/picture.js";

const HOME = { yaw: -0.62, pitch: 0.3, away: 430 };
const FARTHEST_MM = 1500;
const MOST_POINTS = 160000;
const VIEW = 1.35; // focal length, in heights of the canvas
const GRID_MM = 50, GRID_LINES = 5, BELOW_MM = 130;

/** Distance of the first two of the places, or 0. */
function spread(held) {
  const [one, other] = [...held.values()];
  return other ? Math.hypot(one[0] - other[0], one[1] - other[1]) : 0;
}

export class Cloud {
  constructor(canvas, changed) {
    this.canvas = canvas;
    this.changed = changed;
    this.view = { ...HOME };
    this.middle = null; // what is looked at, in mm
    this.points = document.createElement("canvas");
    this.listen();
  }

  listen() {
    const { canvas } = this;
    const turn = (yaw, pitch) => {
      this.view.yaw += yaw;
      this.view.pitch = Math.min(Math.max(this.view.pitch + pitch, -1.5), 1.5);
      this.changed();
    };
    const zoom = (times) => {
      this.view.away = Math.min(Math.max(this.view.away * times, 150), 3000);
      this.changed();
    };
    // One finger turns the cloud sideways, as the page keeps its vertical swipes for scrolling. Two fingers turn it in
    // both directions, and zoom.
    const held = new Map(); // places of the fingers, or of the mouse, that are down
    canvas.onpointerdown = (event) => {
      canvas.setPointerCapture(event.pointerId);
      held.set(event.pointerId, [event.clientX, event.clientY]);
    };
    canvas.onpointerup = canvas.onpointercancel = (event) => held.delete(event.pointerId);
    canvas.onpointermove = (event) => {
      const before = held.get(event.pointerId);
      if (!before) return;
      const now = [event.clientX, event.clientY];
      const apart = spread(held);
      held.set(event.pointerId, now);
      if (held.size > 1 && apart > 0) zoom(apart / Math.max(spread(held), 1));
      turn(-(now[0] - before[0]) * 0.008 / held.size, (now[1] - before[1]) * 0.008 / held.size);
    };
    canvas.ondblclick = () => { this.view = { ...HOME }; this.changed(); };
    canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(event.deltaY * 0.001)); },
      { passive: false });
    canvas.onkeydown = (event) => {
      const turns = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      const times = { "+": 0.9, "-": 1.1 }[event.key];
      if (turns) turn(...turns);
      else if (times) zoom(times);
      else return;
      event.preventDefault();
    };
  }

  /** A function from mm in the camera frame to (x, y, depth) on the canvas. */
  projection(width, height) {
    const { yaw, pitch, away } = this.view, [mx, my, mz] = this.middle;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    const focal = VIEW * height;
    const project = (x, y, z) => {
      const dx = x - mx, dy = y - my, dz = z - mz;
      const across = cy * dx + sy * dz, deep = -sy * dx + cy * dz;
      const down = cp * dy - sp * deep, far = sp * dy + cp * deep + away;
      return [width / 2 + focal * across / far, height / 2 + focal * down / far, far];
    };
    return { project, focal };
  }

  draw(frame) {
    const [width, height, fine] = fit(this.canvas);
    this.look(frame);
    const pen = this.canvas.getContext("2d");
    pen.fillStyle = "#13161b";
    pen.fillRect(0, 0, width, height);
    if (!this.middle) return;
    const view = this.projection(width, height);
    this.drawGrid(pen, view, fine);
    this.drawPoints(pen, frame, view, width, height, fine);
    for (const hand of frame.hands) drawBones(pen, hand, view);
  }

  /** Follow the hands smoothly, or else what is seen. */
  look(frame) {
    const joints = frame.hands.flatMap((hand) => hand.joints_mm);
    const to = joints.length ? mean(joints) : mean(sample(frame));
    if (!to) return;
    this.middle ??= to;
    const apart = Math.hypot(...to.map((part, k) => part - this.middle[k]));
    const share = apart > 300 ? 1 : 0.15;
    this.middle = this.middle.map((part, k) => part + share * (to[k] - part));
  }

  drawGrid(pen, { project }, fine) {
    const round = (value) => GRID_MM * Math.round(value / GRID_MM); // lies still while the hand moves
    const [x0, y, z0] = [round(this.middle[0]), this.middle[1] + BELOW_MM, round(this.middle[2])];
    const reach = GRID_MM * GRID_LINES;
    pen.strokeStyle = "#2a313c";
    pen.lineWidth = fine;
    pen.beginPath();
    for (let k = -GRID_LINES; k <= GRID_LINES; k++) {
      for (const ends of [[[k * GRID_MM, -reach], [k * GRID_MM, reach]], [[-reach, k * GRID_MM], [reach, k * GRID_MM]]]) {
        const [a, b] = ends.map(([x, z]) => project(x0 + x, y, z0 + z));
        if (a[2] < 40 || b[2] < 40) continue;
        pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]);
      }
    }
    pen.stroke();
  }

  drawPoints(pen, frame, { project, focal }, width, height, fine) {
    const W = Math.round(width / fine), H = Math.round(height / fine); // points need no finer screen
    const { counts, colours, unit_mm, camera: [fx, fy, cx, cy] } = frame;
    const nearest = new Float32Array(W * H).fill(Infinity), drawn = new Uint32Array(W * H);
    const step = Math.max(1, Math.round(Math.sqrt(counts.length / MOST_POINTS) / 2)), limit = FARTHEST_MM / unit_mm;
    for (let v = 0; v < frame.height; v += step) {
      for (let u = 0; u < frame.width; u += step) {
        const i = v * frame.width + u;
        if (!counts[i] || counts[i] > limit) continue;
        const z = counts[i] * unit_mm;
        const [sx, sy, far] = project(((u - cx) * z) / fx, ((v - cy) * z) / fy, z);
        if (far < 40) continue;
        const x = (sx / fine) | 0, y = (sy / fine) | 0;
        const size = Math.min(4, Math.max(1, Math.round((1.2 * step * z * focal) / (fx * far * fine))));
        splat(x - (size >> 1), y - (size >> 1), size, far, colours[i]);
      }
    }
    function splat(x, y, size, far, colour) {
      for (let b = Math.max(y, 0); b < Math.min(y + size, H); b++) {
        for (let a = Math.max(x, 0); a < Math.min(x + size, W); a++) {
          const k = b * W + a;
          if (far < nearest[k]) { nearest[k] = far; drawn[k] = colour; }
        }
      }
    }
    [this.points.width, this.points.height] = [W, H];
    this.points.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(drawn.buffer), W, H), 0, 0);
    pen.drawImage(this.points, 0, 0, width, height);
  }
}

function drawBones(pen, hand, { project, focal }) {
  const points = hand.joints_mm.map((joint) => project(...joint));
  if (points.some(([, , far]) => far < 40)) return;
  const parts = hand.bones.map(([a, b]) => ({ a: points[a], b: points[b], far: (points[a][2] + points[b][2]) / 2,
    colour: hand.colours[b] }));
  points.forEach((point, joint) => parts.push({ a: point, far: point[2] - 4, colour: hand.colours[joint] }));
  parts.sort((one, other) => other.far - one.far);
  pen.lineCap = "round";
  for (const { a, b, far, colour } of parts) {
    for (const [mm, style] of [[b ? 7 : 11, "rgba(10,12,16,0.75)"], [b ? 4.5 : 8.5, rgb(colour)]]) {
      pen.beginPath();
      if (b) {
        pen.moveTo(a[0], a[1]); pen.lineTo(b[0], b[1]);
        pen.lineWidth = (mm * focal) / far; pen.strokeStyle = style; pen.stroke();
      } else {
        pen.arc(a[0], a[1], (mm * focal) / far / 2, 0, 7); pen.fillStyle = style; pen.fill();
      }
    }
  }
}

/** Some points of the image, in mm. */
function sample({ counts, width, height, unit_mm, camera: [fx, fy, cx, cy] }) {
  const found = [];
  for (let v = 4; v < height; v += 8) {
    for (let u = 4; u < width; u += 8) {
      const z = counts[v * width + u] * unit_mm;
      if (z && z <= FARTHEST_MM) found.push([((u - cx) * z) / fx, ((v - cy) * z) / fy, z]);
    }
  }
  return found;
}

function mean(points) {
  if (!points.length) return null;
  return [0, 1, 2].map((k) => points.reduce((sum, point) => sum + point[k], 0) / points.length);
}
