"""A service for `test_service.py`: what its users are told to write, with asyncio alone and with `stoppable.aio`."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

import jobs
from stoppable import ProcessPoolExecutor, StopPolicy, aio

POLICY = StopPolicy(ask=1, interrupt=10, terminate=1)


@contextlib.asynccontextmanager
async def lifespan(app: Any) -> AsyncIterator[None]:
    plain = ProcessPoolExecutor(2, policy=POLICY)
    async with aio.Pool(ProcessPoolExecutor(2, policy=POLICY)) as pool:
        app.state.pool, app.state.plain = pool, plain
        try:
            yield
        finally:
            plain.stop("the service ends")
            plain.shutdown()


async def gone(request: Request) -> None:
    """Return when the client has gone away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def with_aio(request: Request) -> Response:
    pool: aio.Pool = request.app.state.pool
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await gone(request)
            group.cancel_scope.cancel()

        group.start_soon(watch)
        await pool.run(jobs.spin, *paths(request))
        group.cancel_scope.cancel()
    return PlainTextResponse("done")


async def with_asyncio(request: Request) -> Response:
    loop = asyncio.get_running_loop()
    work = loop.run_in_executor(request.app.state.plain, jobs.spin, *paths(request))
    watch = asyncio.create_task(gone(request))
    try:
        await asyncio.wait([work, watch], return_when=asyncio.FIRST_COMPLETED)
    finally:
        work.cancel()
        watch.cancel()
    return PlainTextResponse("done")


async def with_nothing(request: Request) -> Response:
    """Do not look for the client: nobody cancels this when it goes away."""
    await request.app.state.pool.run(jobs.spin, *paths(request))
    return PlainTextResponse("done")


async def value(request: Request) -> Response:
    return PlainTextResponse(str(await request.app.state.pool.run(pow, 2, 10)))


def paths(request: Request) -> tuple[str, str]:
    folder = request.query_params["folder"]
    return f"{folder}/begun", f"{folder}/cleaned"


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/aio", with_aio),
        Route("/asyncio", with_asyncio),
        Route("/nothing", with_nothing),
        Route("/value", value),
    ],
)
