/* Blocks of code that a reader can change and run. Python is loaded at the first click on Run.
 *
 * All blocks of a page share one namespace, as on paper: running one first runs those above it that
 * have not run yet. Stop ends the worker, and everything begins anew.
 */

import { button, make } from "./elements.js";

const LOCK = new URL("../assets/vendor/pyodide/packages.zip", import.meta.url);

const blocks = [];
let worker = null;
let running = null; // the block that runs, and what ends it

function begin() {
  worker = new Worker(new URL("python-worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => running?.hear(data);
  worker.onerror = (event) => running?.hear({ done: true, error: `Python could not be started: ${event.message}` });
  for (const block of blocks) block.hasRun = false;
}

class Block {
  constructor(box, number) {
    this.box = box;
    this.number = number;
    this.hasRun = false;
    this.code = box.querySelector("code").textContent.replace(/\n$/, "");
    this.editor = make("textarea", { spellcheck: "false", autocapitalize: "off", autocomplete: "off",
      "aria-label": "Code of this block", oninput: () => this.fit(), onkeydown: (event) => this.key(event) });
    this.editor.value = this.code;
    this.output = make("pre", { class: "printed", role: "status", tabindex: "0" });
    this.run = button("Run", () => this.start(), { class: "main" });
    this.stop = button("Stop", () => this.end());
    this.edit = button("Edit", () => this.open());
    this.reset = button("Reset", () => this.restore());
    this.editor.hidden = this.output.hidden = this.stop.hidden = this.reset.hidden = true;
    box.after(this.editor, make("div", { class: "live-controls" }, this.run, this.edit, this.stop, this.reset), this.output);
  }

  open() {
    this.box.hidden = true;
    this.editor.hidden = this.reset.hidden = false;
    this.edit.hidden = true;
    this.fit();
    this.editor.focus();
  }

  restore() {
    this.editor.value = this.code;
    this.box.hidden = false;
    this.editor.hidden = this.reset.hidden = true;
    this.edit.hidden = false;
    this.run.focus();
  }

  /* As high as its lines. */
  fit() {
    this.hasRun = false;
    this.editor.style.height = "auto";
    this.editor.style.height = `${this.editor.scrollHeight + 2}px`;
  }

  /* Enter keeps the indentation, Ctrl+Enter runs; Tab stays with the page, for the keyboard. */
  key(event) {
    if (event.key !== "Enter") return;
    event.preventDefault();
    if (event.ctrlKey || event.metaKey) return this.start();
    const { value, selectionStart } = this.editor;
    const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
    const deeper = line.trimEnd().endsWith(":") ? "    " : "";
    document.execCommand("insertText", false, `\n${line.match(/^ */)[0]}${deeper}`);
  }

  async start() {
    if (running) return;
    const answer = await fetch(LOCK, { method: "HEAD" });
    if (!answer.ok) {
      return this.tell("This copy of the site was built without Python for the browser. Run the code on your machine instead.");
    }
    this.output.textContent = "";
    this.output.hidden = this.stop.hidden = false;
    for (const block of blocks) block.run.disabled = true;
    if (!worker) begin();
    for (const block of blocks.slice(0, this.number).filter((above) => !above.hasRun)) {
      // Some blocks are meant to fail. If this one needs what another did not define, it says so.
      if ((await this.execute(block, false)) === null) return this.finish(null);
    }
    this.finish(await this.execute(this, true));
  }

  /* Run one block; gives its error, "" if there is none, and null if it was stopped. */
  execute(block, isShown) {
    return new Promise((done) => {
      let state = "";
      const hear = (data) => {
        if (data.state) this.output.dataset.state = state = data.state;
        if (data.text && isShown) this.output.append(data.text);
        if (data.done) {
          block.hasRun = true;
          done(data.error);
        }
      };
      running = { hear, stop: () => done(null) };
      worker.postMessage({ code: block.editor.value, name: `block ${block.number + 1}` });
    });
  }

  end() {
    worker?.terminate();
    worker = null;
    running?.stop();
  }

  finish(error) {
    running = null;
    delete this.output.dataset.state;
    this.stop.hidden = true;
    for (const block of blocks) block.run.disabled = false;
    if (error === null) this.output.append("Stopped.\n");
    else if (error) this.output.append(make("span", { class: "raised" }, error));
    else if (!this.output.textContent) this.output.append("It ran, and printed nothing.\n");
  }

  tell(text) {
    this.output.hidden = false;
    this.output.textContent = text;
  }
}

document.querySelectorAll(".highlight.runnable, .runnable > .highlight, pre.runnable").forEach((box, number) => blocks.push(new Block(box, number)));
