// What one run says: image with cells, slider, answers. Each question has a number, and only the answer to
// the latest is shown.

import { draw } from "./draw.js";

const PAUSE = 100; // milliseconds after the slider's last move
const STEPS = 200; // of a logarithmic slider
const PATIENCE = 4; // how often a question is sent again when the server is busy

export class Panel {
  constructor(number, run, question) {
    this.number = number;
    this.run = run;
    this.question = question; // () => what is asked, or null
    this.latest = 0;
    this.reply = null;
    this.value = null; // of the slider, null as trained
    this.element = document.getElementById("panel").content.firstElementChild.cloneNode(true);
    const find = (selector) => this.element.querySelector(selector);
    const title = `title-${number}`;
    this.element.setAttribute("aria-labelledby", title);
    Object.assign(find("h2"), { id: title, textContent: run.name });
    find(".about").textContent = about(run);
    this.parts = Object.fromEntries(
      ["canvas", ".answer", ".kept", ".unknown", ".bars", ".problem"].map((it) => [it.replace(".", ""), find(it)]),
    );
    this.addSlider(find);
  }

  addSlider(find) {
    const slider = this.run.slider;
    if (!slider) return;
    const [range, output, reset, label] = ["input", "output", ".reset", "label"].map(find);
    const scale = slider.whole ? WHOLE : logarithmic(slider);
    range.id = `slider-${this.number}`;
    label.htmlFor = range.id;
    find(".option").textContent = slider.option === "k" ? "cells to keep" : slider.option;
    [range.min, range.max, range.step] = scale.ends(slider);
    const show = (value) => {
      const trained = value === slider.value ? "as trained" : `trained with ${slider.value}`;
      output.textContent = range.ariaValueText = `${value}, ${trained}`;
      reset.disabled = value === slider.value;
    };
    const change = (value) => {
      this.value = value === slider.value ? null : value;
      show(value);
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.ask(), PAUSE);
    };
    range.value = scale.place(slider.value);
    show(slider.value);
    range.addEventListener("input", () => change(scale.value(Number(range.value))));
    reset.addEventListener("click", () => {
      range.value = scale.place(slider.value);
      change(slider.value);
      range.focus(); // the button is not enabled any more
    });
    find(".slider").hidden = false;
  }

  /** Forget what was said, as the image or the question is another. */
  clear() {
    this.stop();
    this.reply = null;
    for (const part of ["answer", "kept", "unknown", "bars", "problem"]) this.parts[part].replaceChildren();
  }

  stop() {
    this.latest += 1;
    this.request?.abort();
    this.element.ariaBusy = "false";
  }

  async ask() {
    const asked = this.question();
    if (!asked) return;
    this.stop();
    const turn = this.latest;
    this.request = new AbortController();
    this.element.ariaBusy = "true";
    try {
      const body = { ...asked.body, run: this.number, value: this.value };
      const reply = await post("api/ask", body, this.request.signal).then((response) => response.json());
      if (turn === this.latest) this.show(reply, asked);
    } catch (error) {
      if (turn !== this.latest) return;
      this.clear();
      this.parts.problem.textContent = error.message;
      this.paint(asked.picture, asked.view);
    } finally {
      if (turn === this.latest) this.element.ariaBusy = "false";
    }
  }

  show(reply, asked) {
    const { answer, kept, unknown, bars, problem } = this.parts;
    this.reply = reply;
    problem.textContent = "";
    const [best] = reply.answers;
    answer.replaceChildren(`${best.answer} `, small(percent(best.probability)), ...verdict(best.answer, asked.expected));
    const [rows, columns] = reply.grid;
    kept.textContent = `${reply.kept.length} of ${rows * columns} cells kept`;
    unknown.textContent = reply.unknown_words.length
      ? `Words the model never saw: ${reply.unknown_words.join(", ")}` : "";
    bars.replaceChildren(...reply.answers.map((it) => bar(it)));
    this.paint(asked.picture, asked.view);
  }

  paint(picture, view) {
    const { canvas } = this.parts;
    if (!picture) return;
    draw(canvas, picture, this.reply, view);
    canvas.ariaLabel = this.reply ? describe(this.reply, view) : "The image, before a question";
  }
}

/** A request that waits when it must, and throws an error with the server's one line. */
export async function post(address, body, signal) {
  for (let tried = 1; ; tried += 1) {
    let response;
    try {
      response = await fetch(address, {
        method: "POST", signal, body: JSON.stringify(body), headers: { "content-type": "application/json" },
      });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Error("The server cannot be reached; is 'hacore serve' still running?");
    }
    if (response.ok) return response;
    const again = Number(response.headers.get("retry-after"));
    if (again && again < 10 && tried < PATIENCE && !signal?.aborted) {
      await new Promise((done) => setTimeout(done, 1000 * again));
      signal?.throwIfAborted();
      continue;
    }
    const { error } = await response.json().catch(() => ({}));
    const text = error || `the server says ${response.status}`;
    throw new Error(text[0].toUpperCase() + text.slice(1));
  }
}

export function about(run) {
  const accuracy = run.accuracy === null ? "accuracy not measured" : `${percent(run.accuracy)} right on ${run.split}`;
  return `${run.selector}, ${run.aggregator}; ${accuracy}`;
}

const WHOLE = {
  ends: ({ low, high }) => [low, high, 1],
  place: (value) => value,
  value: (place) => place,
};

/** Even steps of the slider are equal factors; the trained value is one of the places. */
function logarithmic({ low, high, value: trained }) {
  const place = (value) => Math.round((STEPS * Math.log(value / low)) / Math.log(high / low));
  return {
    ends: () => [0, STEPS, 1],
    place,
    value: (at) => {
      if (at === place(trained)) return trained;
      if (at === 0 || at === STEPS) return at ? high : low;
      return Number((low * (high / low) ** (at / STEPS)).toPrecision(3));
    },
  };
}

function describe(reply, view) {
  if (view === "none") return "The image";
  if (view === "presence") return "The image under the presence of its cells, from weak (blue) to strong (yellow)";
  const named = reply.kept.slice(0, 12).map(({ row, column }) => `row ${row + 1} column ${column + 1}`);
  const more = reply.kept.length > named.length ? ` and ${reply.kept.length - named.length} more` : "";
  return `The image with ${reply.kept.length} kept cells bright: ${named.join(", ")}${more}`;
}

function verdict(answer, expected) {
  if (expected === null || expected === undefined) return [];
  const right = answer === expected;
  return [small(right ? "✓ as the data say" : `✗ the data say ${expected}`, right ? "right" : "wrong")];
}

function bar({ answer, probability }) {
  const item = document.createElement("li");
  const length = document.createElement("span");
  length.className = "bar";
  length.style.width = `${100 * probability}%`;
  const [name, share] = [answer, percent(probability)].map((text) => {
    const part = document.createElement("span");
    part.textContent = text;
    return part;
  });
  item.append(length, name, share);
  return item;
}

function small(text, kind = "") {
  const element = document.createElement("small");
  Object.assign(element, { textContent: text, className: kind });
  return element;
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}
