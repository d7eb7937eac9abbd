// From a decoded picture to the student's input, bit for bit as Pillow does it in Python: separable convolution with
// antialiasing, weights in fixed point, rounded to 8 bits after each direction. A canvas would scale in its own way.

const PRECISION = 22; // bits after the point of a weight

const FILTERS = {
  bilinear: { support: 1, at: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, at: cubic },
};

function cubic(x) {
  const a = -0.5;
  x = Math.abs(x);
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * a;
  return 0;
}

// For output positions [first, first + count) of a side scaled from `from` to `to` pixels: where each begins to read,
// and its weights as integers.
function windows(filter, from, to, first, count) {
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: count }, (_, i) => {
    const center = (first + i + 0.5) * scale;
    const start = Math.max(0, Math.trunc(center - support + 0.5));
    const stop = Math.min(from, Math.trunc(center + support + 0.5));
    const raw = Array.from({ length: stop - start }, (_, j) => filter.at((j + start - center + 0.5) * (1 / stretch)));
    const total = raw.reduce((sum, weight) => sum + weight, 0);
    const weights = raw.map((weight) => {
      const fixed = (total ? weight / total : weight) * 2 ** PRECISION;
      return Math.trunc(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
    });
    return { start, weights: Int32Array.from(weights) };
  });
}

// Python's round: halves go to the even neighbour.
export function roundHalfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

// The scaled size of a picture, and the square that is cut from it.
export function geometry(width, height, { size, resize_mode: mode }) {
  if (mode === "squash") return { wide: size, high: size, left: 0, top: 0 };
  const short = Math.min(width, height);
  const wide = Math.floor((size * width) / short);
  const high = Math.floor((size * height) / short);
  return { wide, high, left: roundHalfEven((wide - size) / 2), top: roundHalfEven((high - size) / 2) };
}

// {width, height, data: RGBA bytes} -> (3, size, size) bytes, plane after plane.
export function toPlanes(picture, preprocess) {
  const { size, interpolation } = preprocess;
  const { width, height } = picture;
  const place = geometry(width, height, preprocess);
  if (interpolation === "nearest") return nearest(picture, size, place);
  const filter = FILTERS[interpolation];
  const columns = windows(filter, width, place.wide, place.left, size);
  const rows = windows(filter, height, place.high, place.top, size);
  // Pillow (13) goes down first where that takes away much more; the rounding between differs
  const lost = height - place.high;
  const downFirst = lost > 0 && lost > 2 * (width - place.wide);
  const planes = split(picture);
  return (downFirst ? across(down(planes, rows), columns) : down(across(planes, columns), rows)).data;
}

// RGBA, pixel after pixel -> three planes.
function split({ width, height, data }) {
  const area = width * height;
  const planes = new Uint8ClampedArray(3 * area);
  for (let i = 0; i < area; i++) {
    planes[i] = data[4 * i];
    planes[i + area] = data[4 * i + 1];
    planes[i + 2 * area] = data[4 * i + 2];
  }
  return { width, height, data: planes };
}

// Every row of the three planes at the output's columns.
function across({ width, height, data }, columns) {
  const out = new Uint8ClampedArray(3 * height * columns.length);
  let to = 0;
  for (let row = 0; row < 3 * height; row++) {
    for (const { start, weights } of columns) {
      let sum = 1 << (PRECISION - 1);
      for (let i = 0, at = row * width + start; i < weights.length; i++, at++) sum += data[at] * weights[i];
      out[to++] = sum >> PRECISION;
    }
  }
  return { width: columns.length, height, data: out };
}

// Every column of the three planes at the output's rows.
function down({ width, height, data }, rows) {
  const out = new Uint8ClampedArray(3 * rows.length * width);
  let to = 0;
  for (let plane = 0; plane < 3; plane++) {
    for (const { start, weights } of rows) {
      for (let x = 0; x < width; x++) {
        let sum = 1 << (PRECISION - 1);
        for (let i = 0, at = (plane * height + start) * width + x; i < weights.length; i++, at += width) {
          sum += data[at] * weights[i];
        }
        out[to++] = sum >> PRECISION;
      }
    }
  }
  return { width, height: rows.length, data: out };
}

function nearest({ width, height, data }, size, { wide, high, left, top }) {
  const pick = (from, to, first) => {
    const step = from / to;
    const places = [];
    for (let i = 0, at = step * 0.5; i < first + size; i++, at += step) places.push(Math.floor(at));
    return places.slice(first);
  };
  const columns = pick(width, wide, left);
  const rows = pick(height, high, top);
  const out = new Uint8ClampedArray(3 * size * size);
  for (let plane = 0, to = 0; plane < 3; plane++) {
    for (const y of rows) for (const x of columns) out[to++] = data[4 * (y * width + x) + plane];
  }
  return out;
}

// Bytes -> what the model takes: [0, 1], or normalised where the model does not do it itself.
export function toInput(planes, { mean, std, size }, normalizeInside) {
  const values = new Float32Array(planes.length);
  const area = size * size;
  for (let i = 0; i < planes.length; i++) {
    const channel = Math.floor(i / area);
    const unit = planes[i] / 255;
    values[i] = normalizeInside ? unit : (unit - mean[channel]) / std[channel];
  }
  return values;
}

// A file, blob or video -> upright RGBA pixels on white, as Python decodes it: no colour profile, no metadata.
export async function decode(source, limit = 64e6) {
  const bitmap = await createImageBitmap(source, { colorSpaceConversion: "none", imageOrientation: "from-image" });
  const { width, height } = bitmap;
  if (width * height > limit) throw new RangeError(`it has more than ${limit / 1e6} megapixels`);
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "white";
  context.fillRect(0, 0, width, height);
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}
