// The student itself: files -> a session of onnxruntime-web -> names with probabilities. No user interface here.

import { decode, toInput, toPlanes } from "./picture.mjs";

const base64 = (hex) => btoa(hex.match(/../g).map((pair) => String.fromCharCode(parseInt(pair, 16))).join(""));

// Fetch a file and refuse it if its content is not what was exported.
async function fetchChecked(url, sha256) {
  let answer;
  try {
    answer = await fetch(url, sha256 ? { integrity: `sha256-${base64(sha256)}` } : {});
  } catch {
    throw new Error(`${url} cannot be had, or is not the file that was exported`);
  }
  if (!answer.ok) throw new Error(`${url} cannot be had (${answer.status})`);
  return answer;
}

async function loadRuntime({ base, files }) {
  const script = await fetchChecked(base + files.script.name, files.script.sha256);
  const url = URL.createObjectURL(new Blob([await script.text()], { type: "text/javascript" }));
  const ort = await import(url);
  URL.revokeObjectURL(url);
  const binary = await fetchChecked(base + files.binary.name, files.binary.sha256);
  ort.env.wasm.wasmBinary = await binary.arrayBuffer();
  ort.env.wasm.numThreads = 1; // threads need headers that a plain static server does not send
  ort.env.logLevel = "error";
  return ort;
}

export class Student {
  constructor(about, session, vectors, Tensor) {
    Object.assign(this, { about, session, vectors, Tensor });
    this.sets = about.sets;
  }

  // Load everything that stands beside the page.
  static async load(base = "./") {
    const about = await (await fetchChecked(`${base}about.json`)).json();
    const [ort, model, vectors] = await Promise.all([
      loadRuntime({ ...about.runtime, base: new URL(about.runtime.base, new URL(base, location.href)).href }),
      fetchChecked(base + about.model, about.sha256[about.model]).then((file) => file.arrayBuffer()),
      fetchChecked(`${base}vectors.bin`, about.sha256["vectors.bin"]).then((file) => file.arrayBuffer()),
    ]);
    const session = await ort.InferenceSession.create(new Uint8Array(model), { executionProviders: ["wasm"] });
    const student = new Student(about, session, new Float32Array(vectors), ort.Tensor);
    const side = about.preprocess.size;
    await student.embed({ width: 1, height: 1, data: new Uint8ClampedArray(4), side }); // the first run is slow
    return student;
  }

  // {width, height, data: RGBA} -> its unit embedding (D).
  async embed(picture) {
    const { preprocess, input } = this.about;
    const values = toInput(toPlanes(picture, preprocess), preprocess, input.normalize);
    const images = new this.Tensor("float32", values, [1, 3, preprocess.size, preprocess.size]);
    const [output] = Object.values(await this.session.run({ [input.name]: images }));
    return output.data;
  }

  // An embedding -> [{label, probability}], best first, over one set of classes or some of its labels.
  rank(embedding, set = 0, wanted = null) {
    const { labels, first } = this.sets[set];
    const kept = labels.flatMap((label, row) => (!wanted || wanted.has(label) ? [{ label, row: first + row }] : []));
    const width = embedding.length;
    const logits = kept.map(({ row }) => {
      let sum = 0;
      for (let i = 0; i < width; i++) sum += embedding[i] * this.vectors[row * width + i];
      return this.about.scale * sum;
    });
    const most = Math.max(...logits);
    const weights = logits.map((logit) => Math.exp(logit - most));
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return kept
      .map(({ label }, i) => ({ label, probability: weights[i] / total }))
      .sort((a, b) => b.probability - a.probability);
  }

  // A blob -> its embedding and the milliseconds that took, decoding included.
  async read(blob) {
    const start = performance.now();
    const embedding = await this.embed(await decode(blob));
    return { embedding, milliseconds: performance.now() - start };
  }
}
