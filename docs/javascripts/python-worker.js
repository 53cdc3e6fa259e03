/* Python in a worker of its own, so that an endless loop can be stopped by ending the worker.
 *
 * Messages in: {code, line} runs a block in the page's namespace. Messages out: {state} while it
 * loads, {text} for what is printed, and {done, error} at the end.
 */

import { loadPyodide } from "../assets/vendor/pyodide/pyodide.mjs";

const HERE = new URL("../assets/vendor/pyodide/", import.meta.url);

const RUN = `
import sys, traceback, warnings

def _run(code, name):
    try:
        exec(compile(code, name, "exec"), page.__dict__)
    except BaseException as error:
        shown = traceback.TracebackException.from_exception(error)
        shown.stack = traceback.StackSummary.from_list([f for f in shown.stack if f.filename == name])
        for frame in shown.stack:
            print(f"line {frame.lineno} of this block:")
        return "".join(shown.format_exception_only())
    return ""
`;

async function start() {
  const tell = (state) => postMessage({ state });
  tell("Loading Python …");
  const python = await loadPyodide({ indexURL: HERE.href });
  tell("Loading NumPy …");
  await python.loadPackage("numpy", { messageCallback() {}, errorCallback: tell });
  tell("Loading chainrule …");
  for (const name of ["packages.zip", "chainrule.whl"]) {
    const answer = await fetch(new URL(name, HERE));
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    python.unpackArchive(await answer.arrayBuffer(), "zip", { extractDir: "/lib/python3.12/site-packages" });
  }
  python.setStdout({ batched: (text) => postMessage({ text: `${text}\n` }) });
  python.setStderr({ batched: (text) => postMessage({ text: `${text}\n` }) });
  python.runPython(`import types\npage = types.ModuleType("page")\nimport sys\nsys.modules["page"] = page\n${RUN}`);
  return python;
}

const ready = start();

onmessage = async ({ data: { code, name } }) => {
  try {
    const python = await ready;
    postMessage({ state: "Running …" });
    const error = python.globals.get("_run")(code, name);
    postMessage({ done: true, error });
  } catch (error) {
    postMessage({ done: true, error: `Python could not be started: ${error}` });
  }
};
