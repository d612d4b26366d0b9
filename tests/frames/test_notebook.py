"""In a real Jupyter kernel, whose event loop runs already: a cell, an interrupt, a restart."""

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

CELL = """
import batchgen
run = batchgen.map([{"text": f"message {n}"} for n in range(30)], user="{{ text }}", model="qwen-flash",
                   labels=["a", "b"], simulate=True, progress=True)
print(run)
"""
AWAITED = """
other = await batchgen.amap(["one", "two"], user="{{ text }}", model="qwen-flash", simulate=True)
print(other.summary.succeeded, [row["text"] for row in other.table])
"""


@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs_and_goes_on_after_a_restart(tmp_path):
    """A cell with `map`, one that awaits; the same notebook in a new kernel sends nothing again."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL), nbformat.v4.new_code_cell(AWAITED)])
    for _ in range(2):
        NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
        printed = [
            "".join(part.text for part in cell.outputs if part.output_type == "stream" and part.name == "stdout")
            for cell in notebook.cells
        ]
        assert "complete: 30 rows, 30 succeeded" in printed[0]
        assert printed[1].strip() == "2 ['one', 'two']"
    assert len([*(tmp_path / "out").iterdir()]) == 2


INTERRUPTED = """
import batchgen
rows = [{"text": f"message {n}"} for n in range(300)]
run = batchgen.map(rows, user="{{ text }}", model="qwen-flash", simulate=True, limits={"concurrency": 4}, progress=True)
print("ended", run.summary.state, run.summary.succeeded, run.summary.attempts)
"""


@pytest.mark.filterwarnings("ignore")
def test_the_stop_button_keeps_what_is_paid(tmp_path):
    """An interrupted cell gives the run; the same cell again asks the rest only."""
    manager = KernelManager()
    manager.start_kernel(cwd=str(tmp_path))
    client = manager.client()
    client.start_channels()

    def execute(on_bar):
        client.execute(INTERRUPTED)
        pressed = False
        while True:
            message = client.get_iopub_msg(timeout=90)
            text = message["content"].get("text", "")
            if not pressed and "row/s" in text:
                pressed = True
                on_bar()
            if text.startswith("ended"):
                return text.split()[1:]

    try:
        client.wait_for_ready(timeout=90)
        state, answered, _ = execute(manager.interrupt_kernel)
        assert state == "interrupted"
        assert int(answered) < 300
        assert execute(lambda: None) == ["complete", "300", "300"]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
