/* Python in a worker of its own, so that an endless loop can be stopped by ending the worker.
 *
 * Messages in: {code, name} runs a block in the page's namespace. Messages out: {state} while it
 * loads, {text} for what is printed, and {done, error} at the end; {dead} if Python cannot go on.
 */

import { loadPyodide } from "../assets/vendor/pyodide/pyodide.mjs";

const HERE = new URL("../assets/vendor/pyodide/", import.meta.url);

const RUN = `
import ast, builtins, io, linecache, sys, types

page = types.ModuleType("page")
sys.modules["page"] = page
MOST = 50_000  # characters that one block may print
PLACES = 4      # of an error that are named, at the most
ALONE = "The browser has NumPy and chainrule alone: run this block on your computer.\\n"

class _Printed(io.TextIOBase):
    """Sends what is printed line by line, up to a limit for each block."""

    encoding = "utf-8"

    def begin(self):
        self.left, self.line = MOST, ""

    def write(self, text):
        self.line = (self.line + text)[:max(self.left, 0)]
        if self.left > 0 and (len(self.line) == self.left or {"\\n", "\\r"} & set(text)):
            self.flush()
        return len(text)

    def flush(self):
        if self.line:
            _tell(self.line)
            self.left -= len(self.line)
            if not self.left:
                _tell(f"\\n… more than {MOST:,} characters: the rest is not shown\\n")
        self.line = ""

def _input(prompt=""):
    raise RuntimeError("the browser has no input(): write the value into the code")

def _run(code, name):
    sys.stdout.begin()
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    try:
        program = ast.parse(code, name)
        last = program.body and program.body[-1]
        shown = isinstance(last, ast.Expr) and program.body.pop()
        exec(compile(program, name, "exec"), page.__dict__)
        if shown:  # the value of the last line, as in a notebook
            value = eval(compile(ast.Expression(shown.value), name, "eval"), page.__dict__)
            if value is not None:
                print(repr(value))
    except BaseException as error:
        return _described(error, name)
    finally:
        sys.stdout.flush()
    return ""

def _described(error, name):
    from traceback import TracebackException
    told = TracebackException.from_exception(error)
    lines = []
    for one in (told.__cause__, told):  # the package raises its own errors from those of a layer
        for frame in one.stack if one else ():
            if frame.filename.startswith("block "):
                where = "this block" if frame.filename == name else "a block above"
                lines.append(f"line {frame.lineno} of {where}:  {frame.line}\\n")
    if len(lines) > PLACES:
        lines[PLACES // 2:-PLACES // 2] = ["…\\n"]
    message = list(told.format_exception_only())
    message[0] = message[0].removeprefix(f"{type(error).__module__}.")
    if isinstance(error, SyntaxError):
        message[0] = f"line {error.lineno} of this block:\\n"
    missing = isinstance(error, ModuleNotFoundError) or type(error).__name__ == "MissingExtraError"
    return "".join(lines + message) + (ALONE if missing else "")

sys.stdout = sys.stderr = _Printed()
builtins.input = _input
`;

async function start() {
  const tell = (state) => postMessage({ state });
  tell("Loading Python, about 20 MB …");
  const python = await loadPyodide({ indexURL: HERE.href });
  tell("Loading NumPy …");
  await python.loadPackage("numpy", { messageCallback() {}, errorCallback() {} });
  if (!python.loadedPackages.numpy) throw new Error("numpy is missing");
  tell("Loading chainrule …");
  for (const name of ["packages.zip", "chainrule.whl"]) {
    const answer = await fetch(new URL(name, HERE));
    if (!answer.ok) throw new Error(`${name}: ${answer.status}`);
    python.unpackArchive(await answer.arrayBuffer(), "zip", { extractDir: "/lib/python3.12/site-packages" });
  }
  python.globals.set("_tell", (text) => postMessage({ text }));
  python.runPython(RUN);
  return python;
}

const ready = start();
ready.catch((error) => postMessage({ dead: `Python could not be loaded (${error.message}). Press Run to try again.` }));

onmessage = async ({ data: { code, name } }) => {
  const python = await ready;
  try {
    postMessage({ state: "Running …" });
    postMessage({ done: true, error: python.globals.get("_run")(code, name) });
  } catch (error) {
    postMessage({ dead: `Python ended: ${error.message}. Press Run to start it again.` });
  }
};
