"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const parts = globalThis.saccade ?? {};
const place = (id) => document.getElementById(id);
const SHOWN = 5; // classes of an answer
const PIXEL_LEVELS = 2, PROBABILITY = 0.01; // within which the self-test calls a PNG answered as the run does
const JPEG_PROBABILITY = 0.05; // of numbers both are in standard deviations of the training images' numbers

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function bytesOf(base64) {
  const text = atob(base64), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpacked(name) {
  if (!parts[name]) throw new Error("a file of the folder 'browser' is missing; keep the whole folder together");
  const packed = new Blob(parts[name].map(bytesOf));
  delete parts[name];
  const stream = packed.stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

let ort, session;

async function load() {
  const script = new Blob([await unpacked("script")], { type: "text/javascript" });
  const address = URL.createObjectURL(script);
  ort = await import(address);
  URL.revokeObjectURL(address);
  ort.env.logLevel = "error";
  ort.env.wasm.numThreads = 1; // more need headers of a server
  ort.env.wasm.wasmBinary = (await unpacked("wasm")).buffer;
  session = await ort.InferenceSession.create(await unpacked("model"), { executionProviders: ["wasm"] });
}

// What 'saccade predict' refuses is refused here, in the same words.
function refuseSize(width, height) {
  const count = (number) => number.toLocaleString("en-US");
  if (width * height > data.limits.pixels)
    throw new Error(`it has ${width}x${height} pixels; at most ${count(data.limits.pixels)} are read`);
  if (Math.max(width, height) > data.limits.aspect * Math.min(width, height))
    throw new Error(`it has ${width}x${height} pixels: one side is more than ${data.limits.aspect} times the other`);
  if (!data.box) return;
  const scale = Math.max(data.box[0] / height, data.box[1] / width);
  const pixels = Math.floor(height * scale) * Math.floor(width * scale);
  if (pixels > data.limits.pixels && scale > 1)
    throw new Error(`it has ${width}x${height} pixels; resized it would have more than ${count(data.limits.pixels)}`);
}

// Pixels as this browser decodes them: upright, sRGB, transparency on white; {image uint8 RGB, height, width}.
function pixelsOf(source, width, height) {
  refuseSize(width, height);
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this browser has no memory for a photo of that size");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  const rgba = context.getImageData(0, 0, width, height).data;
  if (rgba[3] !== 255) throw new Error(`this browser cannot hold a photo of ${width}x${height} pixels`);
  const image = new Uint8Array(width * height * 3);
  for (let from = 0, to = 0; to < image.length; from += 4, to += 3) {
    image[to] = rgba[from];
    image[to + 1] = rgba[from + 1];
    image[to + 2] = rgba[from + 2];
  }
  canvas.width = canvas.height = 0; // gives its memory back at once
  return { image, height, width };
}

async function pixelsOfFile(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Error("this browser cannot read it as a photo");
  }
  try {
    return pixelsOf(bitmap, bitmap.width, bitmap.height);
  } finally {
    bitmap.close();
  }
}

let last = Promise.resolve(); // one photo after the other
function inTurn(work) {
  const turn = last.then(work);
  last = turn.catch(() => {});
  return turn;
}

async function answer({ image, height, width }) {
  const found = await session.run({ image: new ort.Tensor("uint8", image, [1, height, width, 3]) });
  const answered = {
    said: data.number
      ? [found.logits.data[0] * data.number.deviation + data.number.mean]
      : Array.from(found.probabilities.data),
    prepared: Uint8Array.from(found.prepared.data),
    isUnlike: data.unlikeFrom !== null && !(found.distance.data[0] <= data.unlikeFrom),
  };
  for (const tensor of Object.values(found)) tensor.dispose();
  return answered;
}

// As everywhere in Saccade: nothing is rounded to a hundred or to nothing.
function percent(share) {
  const text = (100 * share).toFixed(1);
  const isRounded = (text === "100.0" && share !== 1) || (text === "0.0" && share !== 0);
  return `${isRounded ? Math.min(Math.max(100 * share, 0.01), 99.99).toFixed(2) : text} %`;
}

// Four digits, and no fraction of large numbers.
function figure(value) {
  const size = Math.abs(value);
  if (size >= 1e4 && size < 1e15) return value.toLocaleString("en-US", { maximumFractionDigits: 0 });
  return String(Number(value.toPrecision(4)));
}

function showNumber(body, value, isUnlike) {
  const name = data.classes[0], reach = data.number.halfWidth;
  const title = element("h2", isUnlike ? "unsure" : "", isUnlike ? "Unlike anything seen in training" : `${name} ${figure(value)}`);
  title.dataset.number = value;
  const near = reach ? `Nine of ten truths lie within ${figure(value - reach)} to ${figure(value + reach)}.` : "";
  const note = isUnlike ? `If it had to answer: ${name} ${figure(value)}.` : near;
  body.replaceChildren(title, ...(note ? [element("p", "hint", note)] : []));
}

// The least grade that at least half of the probability lies at or below.
function medianGrade(probabilities) {
  let sum = 0;
  return probabilities.findIndex((share) => (sum += share) >= 0.5 - 1e-12);
}

function heading(probabilities, order, isUnlike) {
  const said = data.thresholds
    ? order.filter((k) => probabilities[k] >= data.thresholds[k])
    : [order[0]];
  const names = said.map((k) => data.classes[k]).join(", ");
  if (isUnlike)
    return { said, text: "Unlike anything seen in training", note: `If it had to answer: ${names || "none of the labels"}.` };
  if (data.thresholds || probabilities[order[0]] >= data.minConfidence)
    return { said, text: names || "None of the labels", note: "" };
  return { said, text: "Not sure", note: `If it had to answer: ${names}. ${data.sureFrom}` };
}

function showAnswer(body, { said: probabilities, isUnlike }) {
  if (data.number) return showNumber(body, probabilities[0], isUnlike);
  const best = data.kind === "grade" ? medianGrade(probabilities) : -1;
  const order = probabilities
    .map((_, k) => k)
    .sort((a, b) => (b === best) - (a === best) || probabilities[b] - probabilities[a] || a - b);
  const { said, text, note } = heading(probabilities, order, isUnlike);
  const title = element("h2", note ? "unsure" : "", text);
  const rows = element("ul", "rows");
  for (const k of order.slice(0, Math.max(SHOWN, said.length))) {
    const row = element("li");
    row.dataset.probability = probabilities[k];
    const bar = element("span", "bar"), filled = element("i");
    filled.style.width = `${100 * probabilities[k]}%`;
    bar.append(filled);
    row.append(element("span", `name${said.includes(k) ? " said" : ""}`, data.classes[k]), bar);
    row.append(element("span", "figure", percent(probabilities[k])));
    rows.append(row);
  }
  const more = data.classes.length - rows.children.length;
  const notes = note ? [note] : [];
  if (more > 0) notes.push(`${more} more ${more === 1 ? "class is" : "classes are"} less probable.`);
  body.replaceChildren(title, rows, ...notes.map((note) => element("p", "hint", note)));
}

function card(picture, name) {
  const made = element("section", "answer"), body = element("div");
  body.append(element("p", "hint", "Looking ..."));
  made.append(picture, body);
  if (name) made.append(element("p", "file", name));
  place("answers").prepend(made);
  return { made, body };
}

async function show(blob, name) {
  const picture = element("img");
  picture.alt = "";
  picture.src = URL.createObjectURL(blob);
  const { made, body } = card(picture, name);
  made.dataset.file = name;
  try {
    await painted();
    showAnswer(body, await answer(await pixelsOfFile(blob)));
  } catch (error) {
    made.classList.add("failed");
    made.replaceChildren(element("h2", "bad", "No answer"), element("p", "", `${name}: ${error.message}.`));
  }
}

// When the page has been drawn, or a moment later where it is not drawn (in a tab behind another).
const painted = () =>
  new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done));
    setTimeout(done, 100);
  });

function showAll(files) {
  for (const file of files) inTurn(() => show(file, file.name || "pasted photo"));
}

let stream = null;

function stopCamera() {
  for (const track of stream?.getTracks() ?? []) track.stop();
  stream = null;
  place("camera").textContent = "Use the camera";
}

async function startCamera() {
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1280 } } });
  } catch (error) {
    const why = { NotAllowedError: "it was not allowed", NotFoundError: "none was found" }[error.name];
    place("state").textContent = `The camera cannot be used: ${why ?? error.message}.`;
    return;
  }
  place("camera").textContent = "Stop the camera";
  const video = element("video");
  video.muted = video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  const { made, body } = card(video, "");
  made.dataset.file = "camera";
  body.setAttribute("aria-live", "off"); // it changes all the time
  stream.getVideoTracks()[0].addEventListener("ended", stopCamera);
  const own = stream;
  while (stream === own) {
    try {
      await inTurn(async () => {
        showAnswer(body, await answer(pixelsOf(video, video.videoWidth, video.videoHeight)));
      });
    } catch (error) {
      body.replaceChildren(element("h2", "bad", "No answer"), element("p", "", `The camera's picture: ${error.message}.`));
      stopCamera();
    }
    await new Promise((done) => setTimeout(done, 100));
  }
  video.pause(); // the last picture stays
}

function differences(found, said, preparedText) {
  const expected = bytesOf(preparedText);
  let largest = 0, num = 0;
  for (let i = 0; i < expected.length; i++) {
    const level = Math.abs(found.prepared[i] - expected[i]);
    largest = Math.max(largest, level);
    num += level > 0;
  }
  const unit = data.number ? data.number.deviation : 1;
  const probability = Math.max(...said.map((value, k) => Math.abs(value - found.said[k]) / unit));
  return { largest, share: num / expected.length, probability };
}

const small = (number) => (number > 0 && number < 0.0001 ? "0.0001" : number.toFixed(4));

async function selfTest() {
  const results = [];
  for (const photo of parts.check ?? []) {
    await painted();
    const blob = new Blob([bytesOf(photo.content)], { type: photo.type });
    const found = differences(await answer(await pixelsOfFile(blob)), photo.said, photo.prepared);
    results.push({ ...found, isPng: photo.type === "image/png" });
    const row = element("tr");
    for (const text of [photo.name, found.largest, percent(found.share), small(found.probability)])
      row.append(element("td", "", text));
    place("test-rows").append(row);
  }
  const png = results.filter((one) => one.isPng), jpeg = results.filter((one) => !one.isPng);
  const most = (list, name) => Math.max(0, ...list.map((one) => one[name]));
  const figures = `${data.number ? "numbers, in standard deviations," : "probabilities"} within ${small(most(png, "probability"))} for PNG, ${small(most(jpeg, "probability"))} for JPEG`;
  const right = most(png, "largest") <= PIXEL_LEVELS && most(png, "probability") <= PROBABILITY;
  const near = most(jpeg, "probability") <= JPEG_PROBABILITY;
  const verdict = place("test-verdict");
  verdict.className = right && near && results.length ? "good" : "bad";
  verdict.textContent = !results.length
    ? "browser/check.js is missing"
    : right && near
      ? `this browser answers as the run does (${figures})`
      : `this browser reads pixels otherwise than the run (${figures}); its answers differ`;
  verdict.dataset.results = JSON.stringify(results);
}

function listen() {
  place("file").addEventListener("change", (event) => {
    showAll(event.target.files);
    event.target.value = "";
  });
  place("camera").addEventListener("click", () => (stream ? stopCamera() : startCamera()));
  for (const name of ["dragenter", "dragover"])
    addEventListener(name, (event) => {
      event.preventDefault();
      place("ask").classList.add("over");
    });
  addEventListener("dragleave", (event) => event.relatedTarget || place("ask").classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    place("ask").classList.remove("over");
    showAll(event.dataTransfer.files);
  });
  addEventListener("paste", (event) => showAll(event.clipboardData.files));
  place("file").disabled = false;
  place("camera").disabled = !navigator.mediaDevices?.getUserMedia;
  if (place("camera").disabled) place("camera").title = "This browser gives the camera to https:// and to local files only";
}

async function start() {
  try {
    await load();
  } catch (error) {
    place("state").textContent = `The network cannot be loaded: ${error.message}.`;
    place("state").className = "bad";
    return;
  } finally {
    place("ask").removeAttribute("aria-busy");
  }
  place("state").textContent = "Ready.";
  listen();
  await inTurn(selfTest);
}

start();
