"""A real uvicorn: when its client goes away, or it is told to end, the work ends too, and nothing is left."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import branding
from watching import await_file, is_alive, until

HERE = Path(__file__).parent


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Give a uvicorn that answers, and the path of its socket; look that nothing of it is left."""
    brand = branding.new()
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/socket"
        command = [sys.executable, "-m", "uvicorn", "service_app:app", "--uds", path, "--app-dir", str(HERE), *options]
        where = os.pathsep.join([str(HERE.parent), *sys.path])
        server = subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": where},
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: branding.take(brand),  # noqa: PLW1509  # there is one thread here
        )
        assert server.stderr is not None
        try:
            until(lambda: answers(path) or server.poll() is not None, "the server answers", 60)
            assert server.poll() is None, server.stderr.read()
            yield server, path
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(30)
            finally:
                server.kill()
                server.stderr.close()
                server.wait()
    assert branding.await_end(brand, 20) is not None, branding.described(brand)


def answers(path: str) -> bool:
    if not Path(path).exists():
        return False
    try:
        with ask(path, "/value") as client:
            return b"1024" in everything(client)
    except ConnectionError:
        return False


def ask(path: str, target: str) -> socket.socket:
    """Return the connection of a request that was sent."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    try:
        client.connect(path)
        client.sendall(f"GET {target} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n".encode())
    except BaseException:
        client.close()
        raise
    return client


def everything(client: socket.socket) -> bytes:
    parts = []
    while part := client.recv(65536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.slow
def test_the_work_ends_when_its_client_goes_away_if_the_handler_looks_for_that(tmp_path: Path) -> None:
    """Behaviours 48, 53. With asyncio alone and with ours; a handler that does not look works on, as it always did."""
    with serving("--timeout-graceful-shutdown", "1") as (_, path):
        workers = {}
        for way in ("aio", "asyncio", "nothing"):
            folder = tmp_path / way
            folder.mkdir()
            with ask(path, f"/{way}?folder={folder}"):
                workers[way] = int(await_file(folder / "begun"))
        for way in ("aio", "asyncio"):
            await_file(tmp_path / way / "cleaned")
            until(lambda way=way: not is_alive(workers[way]), "the interrupted worker has ended")  # type: ignore[misc]
        assert answers(path)
        assert is_alive(workers["nothing"])
        assert not (tmp_path / "nothing" / "cleaned").exists()
    assert not is_alive(workers["nothing"])
    await_file(tmp_path / "nothing" / "cleaned")


@pytest.mark.slow
@pytest.mark.parametrize("way", ["aio", "asyncio"])
def test_a_service_that_is_told_to_end_stops_its_work_after_its_own_grace_and_leaves_nothing(
    way: str, tmp_path: Path
) -> None:
    """Behaviours 94, 96. Without a graceful timeout uvicorn would wait for the request for ever."""
    with serving("--timeout-graceful-shutdown", "1") as (server, path), ask(path, f"/{way}?folder={tmp_path}"):
        worker = int(await_file(tmp_path / "begun"))
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) in (0, -signal.SIGTERM)
        assert (tmp_path / "cleaned").exists()
        assert not is_alive(worker)
