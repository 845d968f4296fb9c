// Reads what a study's pictures are drawn from, and lays the class activation map over the slices.
//
// A body is a line of JSON, {"shape": [d, h, w], "cam_shape": [classes, d', h', w'], "classes":
// [name, …], "oriented": true}, then d·h·w bytes of grey, then the map as float16, little endian.

/** Parse a body; throws where it is not whole. */
export function parse(buffer) {
  const bytes = new Uint8Array(buffer);
  const end = bytes.indexOf(10);
  const head = JSON.parse(new TextDecoder().decode(bytes.subarray(0, end)));
  const voxels = head.shape.reduce((a, b) => a * b, 1);
  const cells = head.cam_shape.reduce((a, b) => a * b, 1);
  const map = end + 1 + voxels;
  if (end < 0 || bytes.length !== map + 2 * cells) throw new Error("the pictures are not whole");
  const halves = new DataView(buffer, map);
  const cam = Float32Array.from({length: cells}, (_, i) => single(halves.getUint16(2 * i, true)));
  return new Evidence(head, bytes.subarray(end + 1, map), cam);
}

/** Read a float16 (IEEE 754 binary16) from its bits. */
function single(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const sign = bits & 0x8000 ? -1 : 1;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -24 * fraction);
}

/** The network's input, and the map over it: a class's logit is its map's mean plus a bias. */
class Evidence {
  constructor(head, grey, cam) {
    [this.depth, this.height, this.width] = head.shape;
    [, this.cells, this.rows, this.columns] = head.cam_shape;
    this.classes = head.classes;
    this.oriented = head.oriented;
    this.grey = grey;
    this.cam = cam;
    this.peak = cam.reduce((most, value) => Math.max(most, value), 0);
    this.along = tents(this.depth, this.cells);
    this.down = tents(this.height, this.rows);
    this.across = tents(this.width, this.columns);
    this.profiles = this.classes.map((_, i) => this.profile(i));
  }

  /** Mean of a class's map in each slice, foot to head. */
  profile(number) {
    const area = this.rows * this.columns;
    const means = Array.from({length: this.cells}, (_, d) => {
      const start = (number * this.cells + d) * area;
      return this.cam.subarray(start, start + area).reduce((a, b) => a + b, 0) / area;
    });
    return this.along.map(weights => weights.reduce((sum, [d, w]) => sum + w * means[d], 0));
  }

  /** The map of a class over one slice, (h, w). */
  over(number, slice) {
    const area = this.rows * this.columns;
    const plane = new Float32Array(area);
    for (const [d, weight] of this.along[slice]) {
      const start = (number * this.cells + d) * area;
      for (let i = 0; i < area; i += 1) plane[i] += weight * this.cam[start + i];
    }
    const laid = new Float32Array(this.height * this.width);
    this.down.forEach((rows, y) => this.across.forEach((columns, x) => {
      let sum = 0;
      for (const [r, down] of rows) {
        for (const [c, across] of columns) sum += down * across * plane[r * this.columns + c];
      }
      laid[y * this.width + x] = sum;
    }));
    return laid;
  }
}

/**
 * Which cells count how much at each voxel of an axis: a cell fully at its centre, less towards the
 * next one; the last one fully up to the border. Convolutions of stride 2 with "same" padding centre
 * cell i on voxel i·2^k.
 */
function tents(voxels, cells) {
  let step = 1;
  while (Math.ceil(voxels / step) > cells) step *= 2;
  return Array.from({length: voxels}, (_, voxel) => {
    const at = Math.min(voxel, step * (cells - 1));
    const low = Math.floor(at / step);
    return [[low, 1 - at / step + low], [low + 1, at / step - low]]
      .filter(([cell, weight]) => cell < cells && weight > 0);
  });
}

// Inferno at equal steps (matplotlib's, CC0): lightness grows evenly, and colour-blind readers see
// the same order.
const INFERNO = [
  [0, 0, 4], [31, 12, 72], [85, 15, 109], [136, 34, 106], [186, 54, 85], [227, 89, 51],
  [249, 140, 10], [249, 201, 50], [252, 255, 164],
];
const FLOOR = 0.3; // weaker evidence would tint the whole chest

/** Mix grey (0…255) with the colour of a share (0…1) of the largest evidence, into rgba at `to`. */
export function blend(rgba, to, grey, share, opacity) {
  const place = Math.min(Math.max(share, 0), 1) * (INFERNO.length - 1);
  const low = Math.min(Math.floor(place), INFERNO.length - 2);
  const visible = opacity * Math.min(Math.max((share - FLOOR) / (1 - FLOOR), 0), 1);
  for (let c = 0; c < 3; c += 1) {
    const colour = INFERNO[low][c] + (place - low) * (INFERNO[low + 1][c] - INFERNO[low][c]);
    rgba[to + c] = grey * (1 - visible) + colour * visible;
  }
  rgba[to + 3] = 255;
}
