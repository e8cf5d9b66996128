"""A running K-Payments with charges in it, and the requests that can be sent to it."""

import json
from collections.abc import Sequence

import msgspec

from benchmarks import copies
from benchmarks.load import Job, Result, run
from benchmarks.processes import Failed
from benchmarks.samples import COLD_PREFIX, KEPT_PREFIX, charge_request, get_request, key_number
from benchmarks.servers import Server

# Replays and reads go round over so many charges: more than the clients, and in every database's cache.
KEPT_CHARGES = 1000

# So many charges are made right before hot replays, and replayed in turn: few, so that they are answered again within
# a fraction of a second, as retries are.
HOT_CHARGES = 256

# The clients with which a database is filled: they fill the batches.
FILLING_CLIENTS = 64

# Statements are prepared, caches filled and the processor at its speed after half a second.
WARM_UP_SECONDS = 0.5


class Subject(msgspec.Struct, kw_only=True):
    """A server, and what it answered when its charges were made."""

    server: Server
    charges: list[str]
    charges_with_refunds: list[str] = []
    # Counted up, so that no two runs use the same keys.
    runs: int = 0
    # Keys whose requests were answered before this server started, and how many of them were sent again so far.
    cold_keys: int = 0
    cold_keys_used: int = 0

    def send(
        self,
        requests: Sequence[str],
        *,
        clients: int,
        status: int = 200,
        seconds: float = 0.0,
        count: int = 0,
        bodies: Sequence[str] = (),
        key_prefix: str = "",
        first_key: int = 0,
        collect: bool = False,
    ) -> Result:
        """Send requests in turn, or from a template, for a while or so many."""
        server = self.server
        return run(
            Job(
                ports=list(server.ports),
                clients=clients,
                status=status,
                requests=list(requests),
                bodies=list(bodies),
                key_prefix=key_prefix,
                first_key=first_key,
                warm_up_seconds=WARM_UP_SECONDS if seconds else 0.0,
                seconds=seconds,
                count=count,
                collect=collect,
                server_pids=list(server.pids),
                postgres_pid=server.postgres_pid,
            )
        )

    def charge(self, *, clients: int, seconds: float = 0.0, count: int = 0, collect: bool = False) -> Result:
        """Make charges, each under a key of its own."""
        self.runs += 1
        return self.send(
            [charge_request(self.server.secret_key)],
            clients=clients,
            status=201,
            seconds=seconds,
            count=count,
            key_prefix=f"new-{self.runs}-",
            collect=collect,
        )

    def replay_hot(self, *, clients: int, seconds: float) -> Result:
        """Make a few charges, and send their requests again and again."""
        prefix = f"new-{self.runs + 1}-"
        made = self.charge(clients=FILLING_CLIENTS, count=HOT_CHARGES, collect=True)
        keys = (key_number(prefix, number) for number in range(HOT_CHARGES))
        requests = [charge_request(self.server.secret_key, key=key) for key in keys]
        return self.send(requests, clients=clients, status=201, seconds=seconds, bodies=made.answers)

    def replay_cold(self, *, clients: int, seconds: float) -> Result:
        """Send requests again that were answered before the server started, each once in the server's life."""
        left = self.cold_keys - self.cold_keys_used
        if left <= clients:
            raise Failed(f"all {self.cold_keys:,} keys from before the start are used up")
        result = self.send(
            [charge_request(self.server.secret_key)],
            clients=clients,
            status=201,
            seconds=seconds,
            count=left,
            bodies=self.charges[:1],
            key_prefix=COLD_PREFIX,
            first_key=self.cold_keys_used + 1,
        )
        self.cold_keys_used += result.sent
        return result

    def get(self, *, clients: int, seconds: float = 0.0, count: int = 0, collect: bool = False) -> Result:
        """Read charges by their ids; each answer is checked, as soon as it is known what it should be."""
        ids = (json.loads(charge)["id"] for charge in self.charges)
        requests = [get_request(self.server.secret_key, f"/v1/charges/{id}") for id in ids]
        return self.send(
            requests,
            clients=clients,
            seconds=seconds,
            count=count,
            bodies=self.charges_with_refunds,
            collect=collect,
        )

    def page(
        self, path: str, *, clients: int, seconds: float = 0.0, count: int = 0, collect: bool = False
    ) -> Result:
        """Read one page of a list again and again."""
        request = get_request(self.server.secret_key, path)
        return self.send([request], clients=clients, seconds=seconds, count=count, collect=collect)


def prepare(server: Server, *, kept: int = KEPT_CHARGES, cold_keys: int = 0) -> Subject:
    """
    Make the charges that are read, and by SQL so many answered keys of which the server knows nothing yet.

    Each of these has the answer of the first charge.
    """
    subject = Subject(server=server, charges=[], cold_keys=cold_keys)
    subject.charges = subject.send(
        [charge_request(server.secret_key)],
        clients=FILLING_CLIENTS,
        status=201,
        count=kept,
        key_prefix=KEPT_PREFIX,
        collect=True,
    ).answers
    subject.charges_with_refunds = subject.get(clients=1, count=kept, collect=True).answers
    if cold_keys:
        copies.keys(server.database_url, like=key_number(KEPT_PREFIX, 0), prefix=COLD_PREFIX, count=cold_keys)
    return subject


def like(server: Server, model: Subject) -> Subject:
    """Make a subject of a bare server, which answers every request as the model's first was answered."""
    return Subject(
        server=server,
        charges=model.charges[:1] * len(model.charges),
        charges_with_refunds=model.charges_with_refunds[:1] * len(model.charges),
    )
