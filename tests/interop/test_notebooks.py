"""Notebooks, executed in a real kernel: what is shown, what the file keeps, what nbconvert makes.

Each notebook runs once; the tests read its outputs.
"""

from __future__ import annotations

import re
import sys
from typing import Any

import pytest

pytestmark = [
    pytest.mark.edges,
    pytest.mark.filterwarnings("ignore"),  # those of Jupyter itself
]

SETUP = """
import numpy as np
from chainrule import *
from chainrule import callbacks, fitting, losses, optimizers, schedules
rng = np.random.default_rng(0)
x = rng.normal(size=(400, 3))
t = np.tanh(x @ np.array([[1.0], [-1.0], [0.5]]))
model = Sequential([Dense(8), Residual(Dense(8), Activation("tanh")), Dense(1)])
trainer = Trainer(model, losses.HalfSquaredError(), optimizers.Adam(0.01), rng=0)
"""
LONG = """
import time
class Slow(callbacks.Callback):
    def on_step_end(self, trainer, epoch, step, cost):
        time.sleep(0.01)
history = trainer.fit(x, t, epochs=20, validation_data=(x, t), callbacks=[Slow()])
"""


def run(*cells: str) -> Any:
    """The notebook of these cells, executed."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
    NotebookClient(notebook, timeout=120, kernel_name=KERNEL).execute()
    nbformat.validate(notebook)
    return notebook


KERNEL = "python3"


@pytest.fixture(autouse=True, scope="module")
def this_python(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The kernel is this Python, wherever another one may be installed."""
    from jupyter_client.kernelspec import KernelSpecManager

    folder = tmp_path_factory.mktemp("jupyter")
    kernel = folder / "kernels" / KERNEL
    kernel.mkdir(parents=True)
    command = f'["{sys.executable}", "-m", "ipykernel_launcher", "-f", "{{connection_file}}"]'
    text = f'{{"argv": {command}, "display_name": "chainrule", "language": "python"}}'
    (kernel / "kernel.json").write_text(text)
    patch = pytest.MonkeyPatch()
    patch.setenv("JUPYTER_PATH", str(folder))
    patch.delenv("MPLBACKEND", raising=False)  # as in a notebook that somebody opens
    assert KERNEL in KernelSpecManager().find_kernel_specs()
    yield
    patch.undo()


@pytest.fixture(scope="module")
def trained(this_python: Any) -> Any:
    return run(SETUP, LONG, "trainer.fit(x, t, epochs=2, progress=False);")


def html_of(notebook: Any, theme: str = "light") -> str:
    from nbconvert import HTMLExporter

    page, _ = HTMLExporter(theme=theme).from_notebook_node(notebook)
    return str(page)


def test_a_run_is_one_output_that_holds_the_last_state(trained: Any) -> None:
    (output,) = trained.cells[1].outputs
    assert output.output_type == "display_data"
    assert set(output.data) == {"text/html", "text/plain"}
    text = output.data["text/plain"]
    assert re.match(r"epoch 20/20  100 %  in 0:00:\d\d  loss \S+  validation \S+$", text)
    assert "epoch 20/20" in output.data["text/html"] and "<script" not in output.data["text/html"]


def test_progress_false_shows_nothing(trained: Any) -> None:
    assert trained.cells[2].outputs == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nbconvert_keeps_the_last_state(trained: Any, theme: str) -> None:
    page = html_of(trained, theme)
    assert page.count("epoch 20/20") == 1 and 'aria-valuenow="100"' in page
    assert "epoch 19/20" not in page


def test_the_line_changes_while_the_run_goes_on() -> None:
    """The messages of a kernel: one output, and then updates of it, at most ten a second."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name=KERNEL)
    try:
        messages: list[Any] = []
        for cell in (SETUP, LONG):
            reply = client.execute_interactive(cell, timeout=120, output_hook=messages.append)
            assert reply["content"]["status"] == "ok"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    kinds = [message["msg_type"] for message in messages]
    shown = [kind for kind in kinds if kind in ("display_data", "update_display_data")]
    assert shown[0] == "display_data" and set(shown[1:]) == {"update_display_data"}
    assert 10 <= len(shown) <= 200  # 400 steps
    assert not {"stream", "error"} & set(kinds)
    shares = [
        int(re.search(r"(\d+) %", message["content"]["data"]["text/plain"])[1])  # type: ignore[index]
        for message in messages
        if message["msg_type"].endswith("display_data")
    ]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 100


def test_an_interrupt_of_the_kernel_ends_the_run_and_the_line_says_so() -> None:
    endless = """
import os, signal
class Interrupts(callbacks.Callback):
    def on_epoch_end(self, trainer, epoch, figures):
        if epoch == 3:
            os.kill(os.getpid(), signal.SIGINT)
history = trainer.fit(x, t, epochs=100_000, callbacks=[Interrupts()])
"""
    notebook = run(SETUP, endless, "history.epochs")
    (output,) = notebook.cells[1].outputs
    assert "stopped after epoch" in output.data["text/plain"]
    assert "Ctrl-C" in output.data["text/html"]
    assert int(notebook.cells[2].outputs[0].data["text/plain"]) in (3, 4)


REPRS = {
    "model": "parameters, all learned",
    "model.parameters": "residual_1/dense_1.weights",
    "model.parameters[0]": "dense_1.weights",
    "history": "validation loss",
    "summary(model)": "residual_1/",
    "trace(model, x, t, losses.HalfSquaredError())": "|∂C/∂θ|",
    "check_layer(Dense(2), (3,))": "adjoint",
    "prove_layer(Activation('tanh'), (2,))": "proven",
    "fit": "slope",
    "fitting.minimize(model, losses.HalfSquaredError(), x, t, iterations=5, progress=False)": "C",
}


def test_results_are_tables_and_their_text_is_the_repr() -> None:
    line = """
history = trainer.fit(x, t, epochs=3, validation_data=(x, t), progress=False)
line = fitting.curve(lambda x, slope: slope * x, {"slope": 1.0})
fit = fitting.least_squares(line, np.arange(5.0), np.arange(5.0) + 0.1)
"""
    notebook = run(SETUP, line, *REPRS, *(f"print(repr({cell}))" for cell in list(REPRS)[:4]))
    cells = notebook.cells[2:]
    for cell, text in zip(cells, REPRS.values(), strict=False):
        (output,) = cell.outputs
        assert output.output_type == "execute_result"
        assert (
            output.data["text/html"].startswith('<div tabindex="0"')
            and text in output.data["text/html"]
        )
    for cell, printed in zip(cells[:4], cells[len(REPRS) :], strict=True):
        plain = cell.outputs[0].data["text/plain"]
        assert plain == printed.outputs[0].text.rstrip("\n")
    page = html_of(notebook)
    assert page.count("<caption") >= 5


FIGURES = {
    "schedules.Exponential(1e-3, factor=0.99).plot(10)": 1,  # before pyplot is imported
    "history.plot()": 1,
    "figure = history.plot()": 1,
    "history.plot();": 1,
    "trace(model, x, t, losses.HalfSquaredError()).plot()": 1,
    "picture(model)": 1,
    "fit.plot()": 1,
    "from chainrule.display import plots\nplots.plot_confusion_matrix(np.eye(3, dtype=int))": 1,
    "plots.plot_training(history)": 1,
    "import matplotlib.pyplot as plt\nplt.get_fignums()": 0,
}


def test_each_figure_is_shown_once() -> None:
    begin = """
history = trainer.fit(x, t, epochs=3, progress=False)
line = fitting.curve(lambda x, slope: slope * x, {"slope": 1.0})
fit = fitting.least_squares(line, np.arange(5.0), np.arange(5.0) + 0.1)
"""
    notebook = run(SETUP, begin, *FIGURES)
    for cell, count in zip(notebook.cells[2:], FIGURES.values(), strict=True):
        images = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(images) == count, cell.source
        assert len(cell.outputs) == max(count, 1), cell.source
    assert notebook.cells[-1].outputs[0].data["text/plain"] == "[]"


def test_the_style_of_matplotlib_is_respected() -> None:
    colours = """
import matplotlib.pyplot as plt
plt.style.use("dark_background")
history = trainer.fit(x, t, epochs=3, validation_data=(x, t), progress=False)
figure = history.plot()
ax, = figure.axes
from matplotlib.colors import to_hex
[to_hex(c) for c in (figure.get_facecolor(), ax.title.get_color(), ax.lines[0].get_color())]
"""
    notebook = run(SETUP, colours)
    told = [o.data["text/plain"] for o in notebook.cells[1].outputs if "image/png" not in o.data]
    assert told == ["['#000000', '#ffffff', '#8dd3c7']"]
