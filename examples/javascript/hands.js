// Hands in a depth image, with the package's networks and onnxruntime-web, in a browser or under node.
// It is Tracker.predict of the Python package, line by line, and gives the same joints. It does not remove filled holes
// (geometry/filled_holes.py), so switch hole filling off in the camera.
// Camera frame: x right, y down, z forward, in mm. A depth of 0 is invalid.

const CROP = 128; // side of a crop in pixels
const MOST_HANDS = 2;

/**
 * Load the networks of crossnets/weights.
 * @param ort the module onnxruntime-web
 * @param detectorBytes contents of detector.onnx
 * @param modelBytes contents of model.onnx
 * @param config parsed config.json
 */
export async function load(ort, detectorBytes, modelBytes, config) {
  if (config.normalisation !== "metric" || config.passes < 2)
    throw new Error(`This example runs models of the preset crossnets, found one of the preset ${config.preset}.`);
  const options = { executionProviders: ["wasm"] };
  return {
    ort,
    detector: await ort.InferenceSession.create(detectorBytes, options),
    estimator: await ort.InferenceSession.create(modelBytes, options),
    threshold: 0.05, // DetectorModel.threshold
    passes: config.passes,
    cubeMm: config.cube_mm,
    stdPerSpread: config.std_per_spread,
    stdFloorMm: config.std_floor_mm ?? 0, // earlier models have neither
    stdOfDoubt: config.std_of_doubt ?? 0,
  };
}

/**
 * Find hands and estimate their joints.
 * @param model from `load`
 * @param image {depth: Uint16Array in mm, width, height}
 * @param camera {fx, fy, cx, cy} in pixels of the image
 * @returns hands, the likeliest first: {joints: 21 x [x, y, z] in mm, std: 21 numbers in mm, side, size}
 */
export async function predict(model, image, camera) {
  let cubes = (await detect(model, image, camera)).map((found) => ({ ...found, side: cubeFor(model, found.length) }));
  if (!cubes.length) return [];
  let estimates = [];
  for (let pass = 0; pass < model.passes; pass++) {
    estimates = await estimate(model, image, camera, cubes);
    // The next pass crops about the estimated joints, in the estimated size.
    cubes = estimates.map((found, k) => ({ ...cubes[k], center: mean(found.joints), side: cubeFor(model, found.size) }));
  }
  return hands(estimates, cubes);
}

// ---- Detector (inference/detector.py, geometry/thinned.py) ----

async function detect(model, image, camera) {
  const stride = Math.max(1, Math.round(Math.sqrt(camera.fx * camera.fy) / 118));
  const first = stride >> 1;
  const columns = Math.ceil((image.width - first) / stride);
  const rows = Math.ceil((image.height - first) / stride);
  const [width, height] = [columns, rows].map((side) => Math.ceil(side / 16) * 16);
  const kept = new Float32Array(width * height);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const [x, y] = [first + column * stride, first + row * stride];
      if (supported(image.depth, image.width, image.height, x, y))
        kept[row * width + column] = image.depth[y * image.width + x];
    }
  // Specks of wrong pixels support themselves, but are alone among the pixels that are left.
  const alone = (at) => !supported(kept, width, height, at % width, Math.floor(at / width), 40, 2);
  const thinned = kept.map((depth, at) => (depth > 0 && !alone(at) ? depth : 0));
  const input = new Float32Array(2 * width * height);
  for (let row = 0; row < height; row++)
    for (let column = 0; column < width; column++) {
      const at = row * width + column;
      const depth = thinned[at];
      if (!(depth > 0)) continue;
      let [sum, seen] = [0, 0];
      for (let y = Math.max(0, row - 4); y <= Math.min(height - 1, row + 4); y++)
        for (let x = Math.max(0, column - 4); x <= Math.min(width - 1, column + 4); x++) {
          sum += thinned[y * width + x];
          seen += thinned[y * width + x] > 0 ? 1 : 0;
        }
      input[at] = 500 / Math.max(depth, 170);
      input[width * height + at] = Math.min(1, Math.max(-1, (sum / seen - depth) / 40));
    }
  const tensor = new model.ort.Tensor("float32", input, [1, 2, height, width]);
  const { maps } = await model.detector.run({ [model.detector.inputNames[0]]: tensor });
  const small = {
    fx: camera.fx / stride,
    fy: camera.fy / stride,
    cx: (camera.cx - first) / stride,
    cy: (camera.cy - first) / stride,
  };
  return peaks(maps, input, width, height, small, model.threshold);
}

function peaks(maps, inverse, width, height, camera, threshold) {
  const [, , rows, columns] = maps.dims;
  const value = (channel, row, column) => maps.data[(channel * rows + row) * columns + column];
  const least = Math.log(threshold / (1 - threshold));
  const places = [];
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const score = value(0, row, column);
      let highest = score > least;
      for (let y = Math.max(0, row - 1); y <= Math.min(rows - 1, row + 1); y++)
        for (let x = Math.max(0, column - 1); x <= Math.min(columns - 1, column + 1); x++)
          if (value(0, y, x) > score) highest = false;
      if (highest) places.push([score, row, column]);
    }
  places.sort((a, b) => b[0] - a[0]);
  const found = [];
  for (const [score, row, column] of places) {
    // The depth starts from the nearest surface in 12 x 12 pixels around the cell.
    let most = 0;
    for (let y = Math.max(0, 4 * row - 4); y < Math.min(height, 4 * row + 8); y++)
      for (let x = Math.max(0, 4 * column - 4); x < Math.min(width, 4 * column + 8); x++)
        most = Math.max(most, inverse[y * width + x]);
    const z = (most > 0 ? 500 / most : 500) + 100 * value(3, row, column);
    if (!(Number.isFinite(z) && z > 0)) continue;
    const x = ((4 * (column + value(1, row, column)) + 1.5 - camera.cx) / camera.fx) * z;
    const y = ((4 * (row + value(2, row, column)) + 1.5 - camera.cy) / camera.fy) * z;
    const length = 180 * Math.exp(Math.min(1, Math.max(-1, value(5, row, column))));
    const center = [x, y, z].map(Math.fround);
    const one = { center, score: (1 + Math.tanh(score / 2)) / 2, length };
    if (found.some((other) => samePlace(one.center, other.center))) continue;
    found.push(one);
    if (found.length === MOST_HANDS) break;
  }
  return found;
}

function samePlace(a, b) {
  const aside = Math.hypot(a[0] / a[2] - b[0] / b[2], a[1] / a[2] - b[1] / b[2]) * Math.min(a[2], b[2]);
  return distance(a, b) < 70 || aside < 45;
}

// A pixel is kept if four of its eight neighbours are within 20 mm of its depth (geometry/wrong_pixels.py).
function supported(depth, width, height, x, y, within = 20, least = 4) {
  const here = depth[y * width + x];
  if (!(here >= 120)) return false;
  let near = 0;
  for (const down of [-1, 0, 1])
    for (const right of [-1, 0, 1]) {
      if (!down && !right) continue;
      const inside = x + right >= 0 && x + right < width && y + down >= 0 && y + down < height;
      const there = inside ? depth[(y + down) * width + x + right] : 0;
      if (Math.abs(here - there) <= within) near++;
    }
  return near >= least;
}

// Remove the unsupported pixels of a crop, and the pixels beside them that a blur has mixed as well.
function removeWrong(cut) {
  const lost = cut.map((_, at) => (supported(cut, CROP, CROP, at % CROP, Math.floor(at / CROP)) ? 0 : 1));
  const kept = cut.map((depth, at) => (lost[at] ? 0 : depth));
  return kept.map((depth, at) => {
    if (!depth) return 0;
    const [column, row] = [at % CROP, Math.floor(at / CROP)];
    let [beside, behind] = [false, false];
    for (const down of [-1, 0, 1])
      for (const right of [-1, 0, 1]) {
        const [x, y] = [column + right, row + down];
        if (x < 0 || x >= CROP || y < 0 || y >= CROP) continue;
        const other = y * CROP + x;
        if (lost[other] && cut[other] > 0 && cut[other] < depth - 20) beside = true;
        if (kept[other] > depth + 7 && kept[other] <= depth + 30) behind = true;
      }
    return beside && behind ? 0 : depth;
  });
}

// ---- Crops (geometry/crop.py) ----

const cubeFor = (model, length) => Math.min(1.5 * model.cubeMm, Math.max(0.4 * model.cubeMm, length / 0.75));

function cropHand(image, camera, [x, y, z], side) {
  const half = side / 2;
  const [left, right] = [x - half, x + half].map((end) => Math.floor((end * camera.fx) / z + camera.cx));
  const [top, bottom] = [y - half, y + half].map((end) => Math.floor((end * camera.fy) / z + camera.cy));
  const [width, height] = [Math.max(right - left, 1), Math.max(bottom - top, 1)];
  const scale = CROP / Math.max(width, height);
  const margin = [(CROP - width * scale) / 2, (CROP - height * scale) / 2];
  const shift = [margin[0] - (left - 0.5) * scale - 0.5, margin[1] - (top - 0.5) * scale - 0.5];
  const cut = new Uint16Array(CROP * CROP);
  // The nearest pixel as OpenCV's warpAffine finds it: coordinates in 1/1024 pixel, each term rounded by itself.
  const source = (pixel, offset) => {
    const begin = roundHalfEven((-(offset + 0.01 * scale) / scale) * 1024) + 512;
    return (begin + roundHalfEven((pixel / scale) * 1024)) >> 10;
  };
  // A crop with more pixels than its part of the image repeats pixels, so support is then computed in the image.
  const enlarged = scale >= 1;
  const seen = (u, v) => !enlarged || supported(image.depth, image.width, image.height, u, v);
  const first = margin.map((m) => Math.ceil(m - 0.5));
  const last = margin.map((m) => Math.ceil(CROP - m - 0.5));
  for (let row = Math.max(0, first[1]); row < Math.min(CROP, last[1]); row++)
    for (let column = Math.max(0, first[0]); column < Math.min(CROP, last[0]); column++) {
      const [u, v] = [source(column, shift[0]), source(row, shift[1])];
      if (u >= 0 && u < image.width && v >= 0 && v < image.height && seen(u, v))
        cut[row * CROP + column] = image.depth[v * image.width + u];
    }
  const depths = enlarged ? cut : removeWrong(cut);
  const [nearest, farthest] = [z - half, Math.floor(z + half)];
  const pixels = new Float32Array(CROP * CROP).fill(1);
  for (let at = 0; at < cut.length; at++) {
    if (!depths[at] || depths[at] > farthest) continue;
    pixels[at] = Math.min(1, Math.max(-1, (Math.max(depths[at], nearest) - z) / half));
  }
  return { pixels, shown: pixels.reduce((count, value) => count + (value < 1), 0), scale, shift, z, half };
}

function roundHalfEven(value) {
  const rounded = Math.round(value);
  return Math.abs(value % 1) === 0.5 && rounded % 2 ? rounded - 1 : rounded;
}

// ---- Estimator (inference/estimator.py, inference/hands.py) ----

async function estimate(model, image, camera, cubes) {
  const crops = cubes.map((cube) => cropHand(image, camera, cube.center, cube.side));
  const input = new Float32Array(crops.length * CROP * CROP);
  crops.forEach((crop, k) => input.set(crop.pixels, k * CROP * CROP));
  const tensor = new model.ort.Tensor("float32", input, [crops.length, 1, CROP, CROP]);
  const raw = await model.estimator.run({ [model.estimator.inputNames[0]]: tensor });
  const count = raw.joints.dims[1];
  return crops.map((crop, k) => {
    const joints = [];
    const std = [];
    const right = 1 / (1 + Math.exp(-raw.side.data[k]));
    const doubt = 4 * right * (1 - right); // 1 where both sides of the hand are equally likely
    for (let j = 0; j < count; j++) {
      const [u, v, d] = raw.joints.data.slice(3 * (k * count + j), 3 * (k * count + j) + 3);
      const z = d * crop.half + crop.z;
      // From the crop, -1 to 1, to pixels of the image, and along the ray to the depth.
      const pixel = [u, v].map((c, axis) => (((c + 1) * CROP) / 2 - 0.5 - crop.shift[axis]) / crop.scale);
      joints.push([((pixel[0] - camera.cx) / camera.fx) * z, ((pixel[1] - camera.cy) / camera.fy) * z, z]);
      const expected = Math.exp(raw.log_spread.data[k * count + j]) * crop.half;
      std.push(Math.hypot(expected * model.stdPerSpread, model.stdFloorMm) * (1 + model.stdOfDoubt * doubt));
    }
    const size = 2 * crop.half * Math.exp(raw.log_size.data[k]);
    return { joints, std, right, size, hand: raw.hand.data[k], shown: crop.shown };
  });
}

// The rule which candidates are hands.
function hands(estimates, cubes) {
  const rated = estimates.map((found, k) => {
    const score = Math.min(1 - 1e-6, Math.max(1e-6, cubes[k].score));
    const far = mean(found.joints)[2] > 2000; // farther than all hands that the networks learned from
    return { ...found, odds: far ? -Infinity : 0.5 * Math.log(score / (1 - score)) + found.hand };
  });
  const kept = [];
  for (const one of rated.sort((a, b) => b.odds - a.odds)) {
    const again = kept.some((other) => distance(mean(one.joints), mean(other.joints)) < 80);
    const inFront = one.joints.every((joint) => joint[2] > 0);
    if (one.odds > 0 && one.shown > 0.02 * CROP * CROP && inFront && !again) kept.push(one);
  }
  return kept.map(({ joints, std, right, size }) => ({ joints, std, side: right >= 0.5 ? "right" : "left", size }));
}

const mean = (points) => [0, 1, 2].map((axis) => points.reduce((sum, p) => sum + p[axis], 0) / points.length);
const distance = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]);
