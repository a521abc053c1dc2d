"""Clients of a container that is stopped, none of which may lose a request."""

import contextlib
import http.client
import threading
import time

# How long the container goes on accepting when it is stopped.
DRAIN_DELAY = 4.0


class Load:
    """Clients of one container that never retry. Each does what a client behind a load balancer does when its
    server drains: follows `Connection: close`, and opens no new connection once the balancer has heard of it."""

    CLIENTS = {"busy": 8, "fresh": 4, "idle": 4, "stream": 2}

    def __init__(self, port):
        self.port = port
        self.clients = dict(self.CLIENTS)
        if not self.has_stream():
            del self.clients["stream"]
        self.asked_to_stop = None
        self.lost = []
        self.answered = dict.fromkeys(self.clients, 0)
        self.while_stopping = dict.fromkeys(self.clients, 0)
        self.lock = threading.Lock()
        self.threads = [
            threading.Thread(target=self.client, args=[getattr(self, kind)])
            for kind, count in self.clients.items()
            for _ in range(count)
        ]
        for thread in self.threads:
            thread.start()

    def has_stream(self):
        """Whether the service has the sample's endless answer."""
        with self.connect() as connection:
            connection.request("GET", "/ticks")
            return connection.getresponse().status == 200

    def client(self, run):
        try:
            run()
        except (OSError, AssertionError, http.client.HTTPException) as error:
            self.lost.append(f"{run.__name__}: {error!r}")

    def busy(self):
        """One request after the other on a kept connection, and another connection when told to close it."""
        while not self.since_asked(DRAIN_DELAY / 2):
            with self.connect() as connection:
                while not self.ask("busy", connection):
                    pass

    def fresh(self):
        """A connection for every request."""
        while not self.since_asked(DRAIN_DELAY / 2):
            with self.connect() as connection:
                self.ask("fresh", connection)

    def idle(self):
        """A kept connection that is silent all through the drain delay, and then sends one more request."""
        with self.connect() as connection:
            self.ask("idle", connection)
            while not self.since_asked(DRAIN_DELAY + 1):
                time.sleep(0.01)
            told_to_close = self.ask("idle", connection)
            assert told_to_close, "the last answer did not say so"

    def stream(self):
        """An endless answer: ended by the server, with a last event and a complete body."""
        with self.connect() as connection:
            connection.request("GET", "/ticks")
            answer = connection.getresponse()
            self.count("stream")
            body = answer.read().decode()
            assert "event: drain" in body, body
            self.count("stream")

    def since_asked(self, seconds):
        return self.asked_to_stop is not None and time.monotonic() > self.asked_to_stop + seconds

    def connect(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.connect()
        # A second request on a connection that was closed has to fail, not to connect again.
        connection.auto_open = False
        return contextlib.closing(connection)

    def ask(self, kind, connection):
        """Sends a request; tells whether its answer is the connection's last."""
        connection.request("GET", "/livez")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        self.count(kind)
        return answer.will_close

    def count(self, kind):
        with self.lock:
            self.answered[kind] += 1
            self.while_stopping[kind] += self.asked_to_stop is not None

    def is_running(self):
        return all(self.answered[kind] >= count for kind, count in self.clients.items())

    def join(self):
        for thread in self.threads:
            thread.join()

    def summary(self):
        counts = [f"{kind} {count} ({self.while_stopping[kind]})" for kind, count in self.answered.items()]
        return f"{len(self.lost)} lost; answered, and of them while stopping: {', '.join(counts)}"
