/* Blocks of code that a reader can change and run. Python is loaded at the first click on Run.
 *
 * All blocks of a page share one namespace, as on paper: running one first runs those above it that
 * have not run yet, or that have changed. Stop ends the worker, and everything begins anew.
 */

import { button, make } from "./elements.js";

const PACKAGES = new URL("../assets/vendor/pyodide/packages.zip", import.meta.url);
const STOPPED = "Stopped. The next Run starts Python anew.\n";

const blocks = [];
let worker = null;
let running = null; // what hears the worker while a block runs: hear(data), dies(why)

function begin() {
  worker = new Worker(new URL("python-worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }) => (data.dead ? running?.dies(data.dead) : running?.hear(data));
  worker.onerror = () => running?.dies("Python could not be loaded. Press Run to try again.");
  for (const block of blocks) block.hasRun = false;
}

/* Why Python cannot be loaded at all; "" if it can. */
async function missing() {
  try {
    const answer = await fetch(PACKAGES, { method: "HEAD" });
    return answer.ok ? "" : "This copy of the site was built without Python for the browser. Run the code on your computer.";
  } catch {
    return "The site cannot be reached. Press Run to try again.";
  }
}

class Block {
  constructor(box, number) {
    this.box = box;
    this.number = number;
    this.hasRun = false;
    this.waiting = ""; // what is printed, and not yet shown
    this.code = box.querySelector("code").textContent.replace(/\n$/, "");
    const stored = box.nextElementSibling;
    this.stored = stored?.matches(".output") ? stored : null; // what it printed when the site was built
    this.editor = make("textarea", { spellcheck: "false", autocapitalize: "off", autocomplete: "off",
      "aria-label": "Code of this block", oninput: () => this.changed(), onkeydown: (event) => this.key(event) });
    this.editor.value = this.code;
    this.output = make("pre", { class: "printed", role: "status", tabindex: "0" });
    this.run = button("Run", () => this.start(), { class: "main" });
    this.stop = button("Stop", () => running?.dies(STOPPED));
    this.edit = button("Edit", () => this.open());
    this.reset = button("Reset", () => this.restore());
    this.editor.hidden = this.output.hidden = this.stop.hidden = this.reset.hidden = true;
    this.hint = make("span", {}, "Ctrl + Enter runs");
    this.hint.hidden = true;
    box.after(this.editor, make("div", { class: "live-controls" }, this.run, this.edit, this.stop, this.reset, this.hint), this.output);
  }

  /* Show the code to be edited, or as the page has it. */
  open(edited = true) {
    this.box.hidden = this.edit.hidden = edited;
    this.editor.hidden = this.reset.hidden = this.hint.hidden = !edited;
    this.changed();
    this.editor.setSelectionRange(0, 0); // shows the beginning
    (edited ? this.editor : this.run).focus();
  }

  restore() {
    this.editor.value = this.code;
    this.open(false);
    this.show(null);
  }

  /* What is below may depend on it. The editor is as high as its lines. */
  changed() {
    for (const block of blocks.slice(this.number)) block.hasRun = false;
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
    running = { hear() {}, dies() {} };
    for (const block of blocks) block.run.disabled = true;
    this.show("");
    const problem = await missing();
    if (problem) return this.finish(problem);
    this.stop.hidden = false;
    if (!worker) begin();
    for (const block of blocks.slice(0, this.number).filter((above) => !above.hasRun)) {
      const error = await this.execute(block);
      if (error === null) return;
      if (!block.hasRun) {
        const begins = block.editor.value.trim().split("\n")[0];
        return this.finish(`The block above that begins with “${begins}” fails. Correct it, or reset it.\n${error}`);
      }
    }
    const error = await this.execute(this);
    if (error !== null) this.finish(error);
  }

  /* Some blocks show an error: the one that their output begins with. */
  isMeant(error) {
    return this.stored?.matches(".raised") && error.includes(this.stored.textContent.trim().split(":")[0]);
  }

  /* Run one block; gives its error, "" if there is none, and null if Python has ended. */
  execute(block) {
    return new Promise((done) => {
      running = {
        hear: ({ state, text, done: isDone, error }) => {
          if (state) this.output.dataset.state = block === this ? state : state.replace("Running", "Running the blocks above");
          if (text && block === this) this.print(text);
          if (!isDone) return;
          block.hasRun = !error || block.isMeant(error);
          done(error);
        },
        dies: (why) => {
          worker.terminate();
          worker = null;
          this.finish(why);
          done(null);
        },
      };
      worker.postMessage({ code: block.editor.value, name: `block ${block.number + 1}` });
    });
  }

  /* Once for each picture, however much is printed. A carriage return begins the line anew. */
  print(text) {
    if (!this.waiting) requestAnimationFrame(() => this.write());
    this.waiting += text;
  }

  write() {
    const text = this.output.textContent + this.waiting;
    this.waiting = "";
    this.output.textContent = text.replace(/[^\n]*\r(?=[^\n])/g, "");
  }

  finish(error) {
    running = null;
    this.write();
    delete this.output.dataset.state;
    this.stop.hidden = true;
    for (const block of blocks) block.run.disabled = false;
    this.output.classList.toggle("raised", Boolean(error));
    if (error) this.output.append(make("span", {}, error));
    else if (!this.output.textContent) this.output.append("It ran, and printed nothing.\n");
  }

  /* What it prints now, in place of what it printed when the site was built; null for the latter. */
  show(text) {
    this.output.hidden = text === null;
    this.output.textContent = text ?? "";
    this.output.classList.remove("raised");
    if (this.stored) this.stored.hidden = text !== null;
  }
}

document.querySelectorAll(".highlight.runnable, .runnable > .highlight, pre.runnable").forEach((box, number) => blocks.push(new Block(box, number)));
