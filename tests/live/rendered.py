"""Run a notebook whole, as a person would, and print what is saved of it: `python rendered.py < cells.json`.

In a process of its own: what it takes to talk to a kernel stays open for as long as a process lives.
"""

import json
import sys
import tempfile
from typing import Any

import nbformat
from nbclient import NotebookClient

BOUND_S = 60


def main() -> None:
    make: Any = nbformat.v4  # which is not typed
    notebook = make.new_notebook(cells=[make.new_code_cell(source) for source in json.load(sys.stdin)])
    client = NotebookClient(notebook, timeout=BOUND_S, allow_errors=True)
    # Not by TCP: see notebook.py.
    with tempfile.TemporaryDirectory(prefix="k") as folder:
        manager = client.create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{folder}/k"
        print(json.dumps(client.execute()))


if __name__ == "__main__":
    main()
