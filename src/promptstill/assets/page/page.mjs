// The page: pictures from a file, a drop, the clipboard, the camera or the samples; the answer as text and bars.

import { Student } from "./student.mjs";

const SHOWN = 5;
const $ = (id) => document.getElementById(id);
const shared = { student: null, embedding: null, milliseconds: 0, set: 0, wanted: new Set(), url: "", stream: null, turn: 0 };

const percent = (share) => `${(100 * share).toFixed(share < 0.0995 || share > 0.9995 ? 1 : 0)} %`;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function say(text, quiet = false) {
  $("state").textContent = text;
  $("state").classList.toggle("quiet", quiet);
}

function complain(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

// ------------------------------------------------------------------------------------------------------------- answers

async function classify(blob, name, alt) {
  const turn = ++shared.turn; // a later picture wins
  complain("");
  let found;
  try {
    found = await shared.student.read(blob);
  } catch (error) {
    if (turn === shared.turn) refuse(name, blob, error);
    return;
  }
  if (turn !== shared.turn) return;
  Object.assign(shared, found);
  show(blob, alt);
  answer();
}

function refuse(name, blob, error) {
  const why = error instanceof RangeError ? error.message : `this browser reads no ${blob.type || "such file"} here, or it is damaged`;
  complain(`${name} cannot be used: ${why}. Try a PNG, JPEG or WebP picture.`);
}

function show(blob, alt) {
  if (shared.url) URL.revokeObjectURL(shared.url);
  shared.url = URL.createObjectURL(blob);
  Object.assign($("shown"), { src: shared.url, alt, hidden: false });
  $("stage").classList.add("filled");
  $("another").hidden = false;
}

function answer() {
  if (!shared.embedding) return;
  const rows = shared.student.rank(shared.embedding, shared.set, shared.wanted).slice(0, SHOWN);
  $("answer").dataset.milliseconds = shared.milliseconds.toFixed(1);
  $("answer").replaceChildren(...rows.map(({ label, probability }) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${100 * probability}%`;
    const track = element("span", { className: "track" }, bar);
    track.setAttribute("aria-hidden", "true");
    return element("li", {},
      element("span", { className: "name", textContent: label }),
      element("span", { className: "share", textContent: percent(probability) }), track);
  }));
  if (rows.length) say(`${rows[0].label}, ${percent(rows[0].probability)}`);
  else say("Tick at least one class.", true);
}

// ------------------------------------------------------------------------------------------------------------- classes

function chooseSet(index) {
  shared.set = index;
  const { labels } = shared.student.sets[index];
  shared.wanted = new Set(labels);
  $("classes").replaceChildren(...labels.map((label) => {
    const box = element("input", { type: "checkbox", checked: true, value: label });
    return element("label", {}, box, label);
  }));
  recount();
}

function recount() {
  const boxes = [...$("classes").querySelectorAll("input")];
  shared.wanted = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  $("count").textContent = shared.wanted.size === boxes.length ? `(all ${boxes.length})` : `(${shared.wanted.size} of ${boxes.length})`;
  answer();
}

function tickAll(checked) {
  for (const box of $("classes").querySelectorAll("input")) box.checked = checked;
  recount();
}

// ------------------------------------------------------------------------------------------------------ ways to a picture

function take(files, origin) {
  const file = [...(files ?? [])].find((each) => each.type.startsWith("image/")) ?? files?.[0];
  if (!file) return;
  stopCamera();
  press(null);
  classify(file, file.name || origin, `Your picture${file.name ? `, ${file.name}` : ""}`);
}

function press(sample) {
  for (const button of $("samples").querySelectorAll("button")) button.setAttribute("aria-pressed", String(button === sample));
}

function listSamples(samples) {
  $("samples").hidden = !samples.length;
  $("samples").querySelector("ul").replaceChildren(...samples.map((path, index) => {
    const alt = `Sample ${index + 1}`;
    const button = element("button", { type: "button" }, element("img", { src: path, alt, loading: "lazy" }));
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", async () => {
      stopCamera();
      press(button);
      classify(await (await fetch(path)).blob(), alt, `${alt} of the bundled pictures`);
    });
    return element("li", {}, button);
  }));
}

async function startCamera() {
  complain("");
  try {
    shared.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  } catch {
    complain("The camera cannot be used: none is there, or this page may not use it. Allow it, or choose a file.");
    return;
  }
  $("camera").srcObject = shared.stream;
  await $("camera").play();
  toggleCamera(true);
  $("shoot").focus();
}

function stopCamera() {
  for (const track of shared.stream?.getTracks() ?? []) track.stop();
  shared.stream = null;
  $("camera").srcObject = null;
  toggleCamera(false);
}

function toggleCamera(on) {
  $("camera").hidden = $("shoot").hidden = !on;
  $("shown").hidden = on || !shared.url;
  $("stage").classList.toggle("filled", on || Boolean(shared.url));
  $("use-camera").textContent = on ? "Stop the camera" : "Use the camera";
  $("use-camera").setAttribute("aria-pressed", String(on));
}

async function shoot() {
  const video = $("camera");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/png" });
  stopCamera();
  press(null);
  await classify(blob, "the camera's picture", "The picture from the camera");
  $("use-camera").focus();
}

function listen() {
  $("file").addEventListener("change", () => {
    take($("file").files, "the file");
    $("file").value = ""; // the same file may be chosen again
  });
  addEventListener("paste", (event) => take(event.clipboardData?.files, "the pasted picture"));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    $("stage").classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) addEventListener(end, () => $("stage").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    take(event.dataTransfer?.files, "what was dropped");
  });
  $("use-camera").addEventListener("click", () => (shared.stream ? stopCamera() : startCamera()));
  $("shoot").addEventListener("click", shoot);
  $("set").addEventListener("change", () => chooseSet(Number($("set").value)));
  $("classes").addEventListener("change", recount);
  $("all").addEventListener("click", () => tickAll(true));
  $("none").addEventListener("click", () => tickAll(false));
}

function introduce({ about, sets }) {
  const count = sets[0].labels.length;
  $("about").textContent = `It knows ${count} classes and runs in this browser. No picture leaves it.`;
  $("set").replaceChildren(...sets.map(({ title }, index) => element("option", { value: index, textContent: title })));
  $("set-row").hidden = sets.length < 2;
  $("facts").textContent = `${(about.bytes / 1e6).toFixed(1)} MB model, ${about.preprocess.size} × ${about.preprocess.size} pixels, made by promptstill · student ${about.student.slice(0, 12)}`;
  $("use-camera").hidden = !navigator.mediaDevices?.getUserMedia;
}

async function main() {
  try {
    shared.student = await Student.load();
  } catch (error) {
    say("The classifier could not be loaded.", true);
    complain(`${error.message}. Put the whole exported folder on the server, or export it again.`);
    return;
  }
  introduce(shared.student);
  chooseSet(0);
  listSamples(shared.student.about.samples);
  listen();
  say("Choose a picture.", true);
  document.body.dataset.ready = "yes";
}

main();
