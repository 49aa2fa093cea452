// The page: which image, which question, which runs, and what is drawn over the image.

import { Panel, about, post } from "./panel.js";

const find = (id) => document.getElementById(id);
const LEGENDS = {
  cells: "Kept cells are bright; where cells are weighed, the heaviest is the brightest.",
  presence: "How strongly each cell presents itself, from weak (dark blue) to strong (yellow).",
  none: "",
};
const TOGETHER = 3;
const state = { info: null, picture: null, source: null, examples: [], asked: null, chosen: false, view: "cells", panels: [] };

/** What the panels ask and draw; `body` is null before there is a question. */
function current() {
  if (!state.asked || !state.source) return null;
  const known = state.examples.find((it) => it.question === state.asked);
  return {
    body: { ...state.source, question: state.asked },
    picture: state.picture,
    view: state.view,
    expected: known?.answer,
  };
}

function shown() {
  return state.panels.filter((it) => it.element.isConnected);
}

function complain(text) {
  find("problem").textContent = text;
}

function ask({ scroll = true } = {}) {
  const question = find("question").value.trim();
  complain("");
  if (!state.source) return complain("Choose an image first.");
  if (!question) {
    find("question").focus();
    return complain("Type a question first.");
  }
  if (question.length > state.info.limits.question) {
    return complain(`The question has ${question.length} characters; at most ${state.info.limits.question} are taken.`);
  }
  state.asked = question;
  for (const panel of shown()) panel.ask();
  const panels = find("panels");
  if (scroll && panels.getBoundingClientRect().top > 0.75 * innerHeight) panels.scrollIntoView(); // on a phone
}

/** A question that somebody chose, and that is asked about other images too. */
function askChosen() {
  state.chosen = true;
  ask();
}

/** Another image: it is shown, and asked about at once where there is a question: the chosen one, or its first. */
function look(picture, source, examples) {
  Object.assign(state, { picture, source, examples });
  for (const panel of state.panels) {
    panel.clear();
    panel.paint(picture, state.view);
  }
  offer(examples.length ? examples : (state.info.examples[0]?.questions ?? []));
  if (state.chosen) return ask();
  state.asked = null;
  if (!examples.length) return;
  find("question").value = examples[0].question;
  ask({ scroll: false });
}

function offer(questions) {
  find("questions").replaceChildren(...questions.map(({ question }) => {
    const button = document.createElement("button");
    Object.assign(button, { type: "button", className: "button small", textContent: question });
    button.addEventListener("click", () => {
      find("question").value = question;
      askChosen();
    });
    return button;
  }));
}

// Images

function addThumb(picture, name, choose) {
  const [label, input] = ["label", "input"].map((it) => document.createElement(it));
  Object.assign(input, { type: "radio", name: "image" });
  input.ariaLabel = name;
  input.addEventListener("change", choose);
  label.append(input, picture);
  return { label, input };
}

async function addExample({ questions }, number) {
  const image = new Image();
  Object.assign(image, { src: `api/examples/${number}.png`, alt: "" });
  const choose = async () => {
    await image.decode();
    if (input.checked) look(image, { example: number }, questions);
  };
  const { label, input } = addThumb(image, `image ${number + 1} of the data`, choose);
  find("thumbs").append(label);
  if (number === 0) {
    input.checked = true;
    await choose();
  }
}

let uploads = 0;

async function upload(file) {
  const most = state.info.limits.upload;
  complain("");
  if (file.size > most) {
    return complain(`The file has ${(file.size / 1e6).toFixed(1)} MB; at most ${most / 1e6} MB are taken.`);
  }
  const number = (uploads += 1);
  try {
    const source = { image: await base64(file) };
    const picture = await createImageBitmap(await (await post("api/picture", source)).blob());
    if (number !== uploads) return; // another file was chosen since
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width: 96, height: 96 });
    const side = Math.min(picture.width, picture.height);
    const [x, y] = [(picture.width - side) / 2, (picture.height - side) / 2];
    canvas.getContext("2d").drawImage(picture, x, y, side, side, 0, 0, 96, 96);
    const { label, input } = addThumb(canvas, `your image, ${file.name}`, () => look(picture, source, []));
    document.querySelector("#thumbs .own")?.remove();
    label.className = "own";
    find("thumbs").prepend(label);
    input.checked = true;
    look(picture, source, []);
  } catch (error) {
    complain(error.message);
  }
}

function base64(file) {
  return new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => fail(new Error("The file cannot be read."));
    reader.readAsDataURL(file);
  });
}

function receiveFiles() {
  const take = (files) => {
    if (files?.length) upload(files[0]);
  };
  find("file").addEventListener("change", (event) => {
    take(event.target.files);
    event.target.value = ""; // so that the same file can be chosen again
  });
  document.addEventListener("paste", (event) => take(event.clipboardData?.files));
  const dragging = (on) => (event) => {
    event.preventDefault();
    document.body.classList.toggle("dragging", on);
  };
  document.addEventListener("dragover", dragging(true));
  document.addEventListener("dragleave", dragging(false));
  document.addEventListener("drop", (event) => {
    dragging(false)(event);
    take(event.dataTransfer?.files);
  });
}

// Runs

function runInputs() {
  return [...find("choices").querySelectorAll("input")];
}

/** One run, or several of which the first few are shown to begin with. */
function compare() {
  const together = find("compare").checked;
  const inputs = runInputs();
  const [chosen] = inputs.filter((it) => it.checked);
  for (const input of inputs) input.type = together ? "checkbox" : "radio";
  for (const [at, input] of inputs.entries()) input.checked = together ? at < TOGETHER : input === chosen;
  chosen.checked = true;
  showRuns();
}

function showRuns() {
  const chosen = runInputs().map((it) => it.checked);
  const before = new Set(shown());
  find("panels").replaceChildren(...state.panels.filter((_, at) => chosen[at]).map((it) => it.element));
  for (const panel of state.panels) {
    if (!panel.element.isConnected) panel.stop();
    else if (!before.has(panel)) {
      panel.clear();
      panel.paint(state.picture, state.view);
      panel.ask();
    }
  }
}

function addRuns(runs) {
  for (const [number, run] of runs.entries()) {
    const [label, input, text, more] = ["label", "input", "span", "small"].map((it) => document.createElement(it));
    Object.assign(input, { type: "radio", name: "run", value: number, checked: number === 0 });
    input.addEventListener("change", () => {
      if (!runInputs().some((it) => it.checked)) input.checked = true;
      showRuns();
    });
    more.textContent = about(run);
    text.append(run.name, more);
    label.append(input, text);
    find("choices").append(label);
    state.panels.push(new Panel(number, run, current));
  }
  find("runs").hidden = runs.length === 1;
  find("together").hidden = runs.length === 1;
  find("compare").addEventListener("change", compare);
}

async function start() {
  const response = await fetch("api/info").catch(() => null);
  if (!response?.ok) return complain("The server cannot be reached; is 'hacore serve' still running?");
  state.info = await response.json();
  addRuns(state.info.runs);
  showRuns();
  find("form").addEventListener("submit", (event) => {
    event.preventDefault();
    askChosen();
  });
  for (const input of document.querySelectorAll("[name=view]")) {
    input.addEventListener("change", () => {
      state.view = input.value;
      find("legend").textContent = LEGENDS[state.view];
      for (const panel of state.panels) panel.paint(state.picture, state.view);
    });
  }
  find("legend").textContent = LEGENDS.cells;
  receiveFiles();
  for (const [number, example] of state.info.examples.entries()) await addExample(example, number);
  document.body.dataset.ready = "yes";
}

start();
