"""Python's requests, httpx and aiohttp: the first argument says which; ROLLOUT_HTTP is 1.1 or 2."""

import asyncio
import os
import random
import ssl
import sys
import threading
import time

URL, BODY = os.environ["ROLLOUT_URL"], os.environ["ROLLOUT_BODY"]
HTTP2 = os.environ.get("ROLLOUT_HTTP") == "2"
TIMEOUT = int(os.environ["ROLLOUT_TIMEOUT_MS"]) / 1000
MIN, MAX = (int(ms) / 1000 for ms in os.environ["ROLLOUT_PAUSE_MS"].split())
CA, INSECURE = os.environ.get("ROLLOUT_CA"), os.environ.get("ROLLOUT_INSECURE")
HEADERS = {"Content-Type": "application/json"}
HEADERS |= dict(line.split(": ", 1) for line in os.environ.get("ROLLOUT_HEADERS", "").splitlines())


def trust():
    context = ssl.create_default_context(cafile=CA or None)
    if INSECURE:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def report(began, status, error=None):
    text = f" {type(error).__name__}: {error}".replace("\n", " ") if error else ""
    # One write: the lines of other threads must not come between.
    os.write(1, f"{status:03} {time.monotonic() - began:.6f}{text}\n".encode())


def in_threads(client):
    """Calls a blocking library from one thread a client."""
    stop = threading.Event()

    def run():
        post = client()
        while not stop.wait(random.uniform(MIN, MAX)):
            began = time.monotonic()
            try:
                report(began, post())
            except Exception as error:
                report(began, 0, error)

    threads = [threading.Thread(target=run) for _ in range(int(os.environ["ROLLOUT_CLIENTS"]))]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()


def with_requests():
    import requests

    def client():
        session = requests.Session()
        session.trust_env = False
        session.verify = CA or not INSECURE
        return lambda: session.post(URL, data=BODY, headers=HEADERS, timeout=TIMEOUT).status_code

    in_threads(client)


def with_httpx():
    import httpx

    def client():
        client = httpx.Client(http1=not HTTP2, http2=HTTP2, timeout=TIMEOUT, trust_env=False, verify=trust())
        return lambda: client.post(URL, content=BODY, headers=HEADERS).status_code

    in_threads(client)


async def with_aiohttp():
    import aiohttp

    stop = asyncio.Event()

    async def client():
        connector = aiohttp.TCPConnector(limit=1, ssl=trust())
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            while True:
                try:
                    await asyncio.wait_for(stop.wait(), random.uniform(MIN, MAX))
                    return
                except TimeoutError:
                    pass
                began = time.monotonic()
                try:
                    async with session.post(URL, data=BODY, headers=HEADERS) as response:
                        await response.read()
                    report(began, response.status)
                except Exception as error:
                    report(began, 0, error)

    async def until_stopped():
        await asyncio.to_thread(sys.stdin.read)
        stop.set()

    await asyncio.gather(until_stopped(), *(client() for _ in range(int(os.environ["ROLLOUT_CLIENTS"]))))


match sys.argv[1]:
    case "requests":
        with_requests()
    case "httpx":
        with_httpx()
    case "aiohttp":
        asyncio.run(with_aiohttp())
