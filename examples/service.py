"""A service whose client goes away: the work of its request is stopped, and the next client is served.

It needs `pip install 'stoppable[async]' starlette uvicorn`.
"""

import contextlib
import itertools
import socket

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import stoppable
from stoppable import ProcessPoolExecutor, aio


def is_prime(number: int) -> bool:
    for divisor in range(2, number):
        stoppable.check()  # raises once nobody wants the answer any more
        if number % divisor == 0:
            return False
    return True


def largest_prime(below: int) -> int:
    """Work for a CPU: for ever, if nobody stops it and *below* is large."""
    return next(number for number in itertools.count(below - 1, -1) if is_prime(number))


@contextlib.asynccontextmanager
async def lifespan(app):
    async with aio.Pool(ProcessPoolExecutor(2)) as pool:
        app.state.pool = pool.options(
            on_stopped=lambda future: print("service: stopped:", future.report.reason.message)
        )
        yield


async def answer(request: Request) -> Response:
    """Run the work until it is done or the client is gone. Starlette does not look for that by itself."""
    async with anyio.create_task_group() as group:

        async def cancel_when_gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            print("service: the client has gone")
            group.cancel_scope.cancel()

        group.start_soon(cancel_when_gone)
        value = await request.app.state.pool.run(largest_prime, int(request.query_params["below"]))
        group.cancel_scope.cancel()  # the one that looks
        return PlainTextResponse(str(value))
    return Response(status_code=499)  # nobody reads it


async def main() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/", answer)], lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listener])
        while not server.started:
            await anyio.sleep(0.1)
        async with await anyio.connect_tcp(*listener.getsockname()) as client:
            await client.send(b"GET /?below=1000000000000 HTTP/1.1\r\nHost: here\r\n\r\n")
            await anyio.sleep(1)
            print("client: I have waited long enough")
        async with await anyio.connect_tcp(*listener.getsockname()) as client:
            await client.send(b"GET /?below=1000 HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
            print("client: the largest prime is", (b"".join([part async for part in client])).split()[-1].decode())
        server.should_exit = True


if __name__ == "__main__":
    anyio.run(main)
