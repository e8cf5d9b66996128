"""A running K-Payments with charges in it, and the requests that can be sent to it."""

import json
from typing import Literal

import msgspec

from benchmarks.load import Job, Result, run
from benchmarks.samples import KEPT_PREFIX, charge_request, get_request, key_number
from benchmarks.servers import Server

Operation = Literal["charge", "replay", "get"]
OPERATIONS: tuple[Operation, ...] = ("charge", "replay", "get")

# Replays and reads go round over so many charges: more than the clients, and in every database's cache.
KEPT_CHARGES = 1000

# The clients with which a database is filled: they fill the batches.
FILLING_CLIENTS = 64

# Statements are prepared, caches filled and the processor at its speed after half a second.
WARM_UP_SECONDS = 0.5


class Subject(msgspec.Struct, kw_only=True):
    """A server, and what it answered when its charges were made."""

    server: Server
    charges: list[str]
    charges_with_refunds: list[str]
    # Counted up, so that no two runs use the same keys.
    runs: int = 0

    def measure(
        self,
        operation: Operation,
        *,
        clients: int,
        seconds: float = 0.0,
        count: int = 0,
        collect: bool = False,
    ) -> Result:
        """Send requests of one kind, for a while or so many."""
        timed = WARM_UP_SECONDS if seconds else 0.0
        key = self.server.secret_key
        self.runs += 1
        job = Job(
            port=self.server.port,
            clients=clients,
            status=200 if operation == "get" else 201,
            requests=[],
            seconds=seconds,
            warm_up_seconds=timed,
            count=count,
            collect=collect,
            server_pid=self.server.pid,
            postgres_pid=self.server.postgres_pid,
        )
        match operation:
            case "charge":
                job.requests = [charge_request(key)]
                job.key_prefix = f"new-{self.runs}-"
            case "replay":
                names = (key_number(KEPT_PREFIX, number) for number in range(len(self.charges)))
                job.requests = [charge_request(key, key=name) for name in names]
                job.bodies = self.charges
            case "get":
                ids = (json.loads(charge)["id"] for charge in self.charges)
                job.requests = [get_request(key, f"/v1/charges/{id}") for id in ids]
                job.bodies = self.charges_with_refunds
        return run(job)

    def page(self, path: str, *, clients: int, count: int, collect: bool = False) -> Result:
        """Read one page of a list again and again."""
        return run(
            Job(
                port=self.server.port,
                clients=clients,
                status=200,
                requests=[get_request(self.server.secret_key, path)],
                count=count,
                collect=collect,
                server_pid=self.server.pid,
                postgres_pid=self.server.postgres_pid,
            )
        )


def prepare(server: Server, *, kept: int = KEPT_CHARGES) -> Subject:
    """Make the charges that are replayed and read."""
    made = run(
        Job(
            port=server.port,
            clients=FILLING_CLIENTS,
            status=201,
            requests=[charge_request(server.secret_key)],
            key_prefix=KEPT_PREFIX,
            count=kept,
            collect=True,
            server_pid=server.pid,
        )
    )
    subject = Subject(server=server, charges=made.answers, charges_with_refunds=[])
    subject.charges_with_refunds = subject.measure("get", clients=1, count=kept, collect=True).answers
    return subject


def like(server: Server, model: Subject) -> Subject:
    """Make a subject of the bare server, which answers every request as the model's first was answered."""
    return Subject(
        server=server,
        charges=model.charges[:1] * len(model.charges),
        charges_with_refunds=model.charges_with_refunds[:1] * len(model.charges),
    )
