"""Run cells in a notebook's kernel, interrupting some: `python notebook.py < cells.json`, which prints what each wrote.

In a process of its own: what it takes to talk to a kernel stays open for as long as a process lives. A cell
that writes `ready` is interrupted as the notebook's stop button does; and one with the comment `twice` again, once
it says that this kills.
"""

import json
import queue
import sys
import tempfile
import time

from jupyter_client.manager import KernelManager

BOUND_S = 60.0


def main() -> None:
    # Not by TCP: of the five ports that are looked for first, another program may take one before the kernel does,
    # and nobody hears of that.
    with tempfile.TemporaryDirectory(prefix="k") as folder:
        talk(KernelManager(transport="ipc", ip=f"{folder}/k"))


def talk(manager: KernelManager) -> None:
    """Run the cells that stdin has, and print what each wrote."""
    manager.start_kernel()
    client = manager.client()
    try:
        client.start_channels()
        client.wait_for_ready(timeout=BOUND_S)
        print(json.dumps([run(manager, client, cell) for cell in json.load(sys.stdin)]))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def run(manager: KernelManager, client: object, cell: str) -> str:
    """Return what the cell wrote, and the names of its errors."""
    number = client.execute(cell)  # type: ignore[attr-defined]
    text, pressed, again, end = "", False, False, time.monotonic() + BOUND_S
    while time.monotonic() < end:
        try:
            message = client.get_iopub_msg(timeout=1)  # type: ignore[attr-defined]
        except queue.Empty:
            continue
        if message["parent_header"].get("msg_id") != number:
            continue
        content = message["content"]
        if message["msg_type"] == "stream":
            text += content["text"]
        elif message["msg_type"] == "error":
            text += f"{content['ename']}\n"
        elif message["msg_type"] == "status" and content["execution_state"] == "idle":
            return text
        if "ready\n" in text and not pressed:
            pressed = True
            manager.interrupt_kernel()
        if "# twice" in cell and "again kills" in text and not again:
            again = True
            time.sleep(0.7)
            manager.interrupt_kernel()
    return f"{text}(no end within {BOUND_S} s)"


if __name__ == "__main__":
    main()
