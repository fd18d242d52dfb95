// SPDX-License-Identifier: Apache-2.0
// Draw a digit: the drawing is made into an image like those of MNIST, and a network
// reads it by onnxruntime-web.
"use strict";

const VERSION = "1.30.0"; // as in package.json
const PLACES = [
  "node_modules/onnxruntime-web/dist/", // after `npm install` in this folder
  `https://cdn.jsdelivr.net/npm/onnxruntime-web@${VERSION}/dist/`,
];
const SIDE = 28; // of the image that the network reads
const BOX = 20; // of the digit in it
const PEN = 28; // of 280: MNIST's 2.8 of 20 pixels, in a drawing of 200

const $ = (id) => document.getElementById(id);
const paper = $("paper");
const ink = paper.getContext("2d", { willReadFrequently: true });

// ---- the image ----

/** The drawing's opacity, from 0 to 1, in rows. */
function drawing() {
  const { data } = ink.getImageData(0, 0, paper.width, paper.height);
  const pixels = new Float32Array(data.length / 4);
  for (let i = 0; i < pixels.length; i++) pixels[i] = data[4 * i + 3] / 255;
  return pixels;
}

/**
 * A drawing as MNIST's images were made: cropped, scaled into a box of 20x20 and set
 * so that its center of mass is in the middle of 28x28; null where nothing is drawn.
 */
function likeMnist(pixels, width, height) {
  const crop = bounds(pixels, width, height);
  if (!crop) return null;
  const scale = BOX / Math.max(crop.width, crop.height);
  const columns = Math.max(1, Math.round(crop.width * scale));
  const rows = Math.max(1, Math.round(crop.height * scale));
  const digit = resampled(pixels, width, crop, columns, rows);
  return centered(digit, columns, rows);
}

/** The smallest rectangle around all ink; null without any. */
function bounds(pixels, width, height) {
  let [left, right, top, bottom] = [width, -1, height, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (pixels[y * width + x] === 0) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
  }
  if (right < 0) return null;
  return { left, top, width: right - left + 1, height: bottom - top + 1 };
}

/** A rectangle of pixels in another size: each new pixel is the mean of what it covers. */
function resampled(pixels, width, crop, columns, rows) {
  const across = shares(crop.width, columns);
  const down = shares(crop.height, rows);
  const result = new Float32Array(columns * rows);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      let sum = 0;
      for (const [row, high] of down[y]) {
        const start = (crop.top + row) * width + crop.left;
        for (const [column, wide] of across[x]) sum += high * wide * pixels[start + column];
      }
      result[y * columns + x] = sum;
    }
  }
  return result;
}

/** For each of `to` parts of a line of `from` pixels: pixels and their shares of it. */
function shares(from, to) {
  const size = from / to;
  return Array.from({ length: to }, (_, i) => {
    const [start, end] = [i * size, (i + 1) * size];
    const covered = [];
    for (let pixel = Math.floor(start); pixel < Math.min(end, from); pixel++) {
      const part = Math.min(pixel + 1, end) - Math.max(pixel, start);
      if (part > 0) covered.push([pixel, part / size]);
    }
    return covered;
  });
}

/** A digit in an empty image, moved by whole pixels: its mass in the middle. */
function centered(digit, columns, rows) {
  let [mass, x, y] = [0, 0, 0];
  digit.forEach((value, i) => {
    mass += value;
    x += value * (i % columns);
    y += value * Math.floor(i / columns);
  });
  const left = Math.round(SIDE / 2 - x / mass);
  const top = Math.round(SIDE / 2 - y / mass);
  const image = new Float32Array(SIDE * SIDE);
  digit.forEach((value, i) => {
    const column = left + (i % columns);
    const row = top + Math.floor(i / columns);
    const inside = column >= 0 && column < SIDE && row >= 0 && row < SIDE;
    if (inside) image[row * SIDE + column] = value;
  });
  return image;
}

// ---- the network ----

let session = null;

/** Load onnxruntime-web from the first place that has it. */
async function loadRuntime() {
  for (const place of PLACES) {
    if (!(await loadScript(`${place}ort.wasm.min.js`))) continue;
    ort.env.wasm.wasmPaths = new URL(place, document.baseURI).href;
    ort.env.wasm.numThreads = 1; // several need headers that simple servers don't send
    return;
  }
  throw new Error("onnxruntime-web is neither in node_modules nor can it be downloaded");
}

/** Whether a script was there. */
function loadScript(source) {
  return new Promise((resolve) => {
    const script = Object.assign(document.createElement("script"), { src: source });
    script.onload = () => resolve(true);
    script.onerror = () => resolve(false);
    document.head.append(script);
  });
}

/** The ten probabilities of an image. */
async function probabilities(image) {
  const input = new ort.Tensor("float32", image, [1, SIDE, SIDE, 1]);
  const results = await session.run({ [session.inputNames[0]]: input });
  return softmax(results[session.outputNames[0]].data);
}

function softmax(logits) {
  const highest = Math.max(...logits);
  const powers = Array.from(logits, (logit) => Math.exp(logit - highest));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((power) => power / sum);
}

// ---- the page ----

let busy = false;
let changed = false;

/** Read the drawing; what is drawn meanwhile is read next. */
async function read() {
  changed = true;
  if (busy || !session) return;
  busy = true;
  try {
    while (changed) {
      changed = false;
      const image = likeMnist(drawing(), paper.width, paper.height);
      showSeen(image);
      showBars(image && (await probabilities(image)));
    }
  } finally {
    busy = false;
  }
}

function showSeen(image) {
  const picture = new ImageData(SIDE, SIDE);
  image?.forEach((value, i) => (picture.data[4 * i + 3] = Math.round(255 * value)));
  $("seen").getContext("2d").putImageData(picture, 0, 0);
}

/** The bars of ten probabilities, or of none. */
function showBars(shares) {
  const first = shares ? shares.indexOf(Math.max(...shares)) : null;
  $("answer").value = first ?? "–";
  [...$("bars").children].forEach((row, digit) => {
    row.classList.toggle("first", digit === first);
    row.querySelector(".track span").style.width = `${100 * (shares?.[digit] ?? 0)}%`;
    const percent = shares ? `${(100 * shares[digit]).toFixed(1)} %` : "";
    row.querySelector(".share").textContent = percent;
  });
}

function makeBars() {
  for (let digit = 0; digit < 10; digit++) {
    const row = document.createElement("li");
    row.innerHTML =
      `<span>${digit}</span><span class="track"><span></span></span><span class="share"></span>`;
    $("bars").append(row);
  }
}

/** A stroke from the last point to where the pointer is now. */
function drawWith(pointer) {
  let last = null;
  const place = (event) => [
    (event.offsetX * paper.width) / paper.clientWidth,
    (event.offsetY * paper.height) / paper.clientHeight,
  ];
  const line = (event) => {
    const next = place(event);
    ink.beginPath();
    ink.moveTo(...last);
    ink.lineTo(...next); // of no length: a dot
    ink.stroke();
    last = next;
  };
  pointer.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    pointer.setPointerCapture(event.pointerId);
    last = place(event);
    line(event);
    read();
  });
  pointer.addEventListener("pointermove", (event) => {
    if (!last || !event.isPrimary) return;
    const steps = event.getCoalescedEvents?.() ?? [];
    for (const step of steps.length ? steps : [event]) line(step);
    read();
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pointer.addEventListener(end, () => (last = null));
  }
}

async function start() {
  makeBars();
  Object.assign(ink, { lineWidth: PEN, lineCap: "round", lineJoin: "round" });
  drawWith(paper);
  $("clear").addEventListener("click", () => {
    ink.clearRect(0, 0, paper.width, paper.height);
    read();
  });
  try {
    await loadRuntime();
    session = await ort.InferenceSession.create("digits.onnx");
    $("status").textContent = "With the mouse or a finger, about as large as the paper.";
    await read();
  } catch (error) {
    $("status").textContent = `The network could not be loaded: ${error.message}`;
  }
}

start();
