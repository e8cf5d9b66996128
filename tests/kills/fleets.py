"""Installations whose processes die: one on SQLite, and one on PostgreSQL with all that belongs to it."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.faults.cables import Cable
from tests.kills.victims import PATIENCE_SECONDS, Cluster, Kpay, Program, Victim, own_port, redis, until
from tests.servers import Installation

# How often somebody looks whether all are alive.
LOOK_SECONDS = 0.02

# What dies on PostgreSQL, and how often of a hundred times. Servers most, since most depends on them.
DEATHS = {"server": 45, "worker": 25, "postgres": 10, "a process of postgres": 8, "redis": 12}

# And beside every so many deaths, the connections that a server has to its database break.
BREAKS_PER_DEATH = 1.0


class Fleet:
    """
    The processes of one installation, and a network that nothing happens to.

    Whatever is found dead is started again, as a supervisor would; `deaths` counts who was killed.
    """

    def __init__(
        self, installation: Installation, chance: random.Random, network: Kpay, journal: str
    ) -> None:
        self.installation = installation
        self.network = network
        self.journal = journal
        self.chance = chance
        self.servers: list[Kpay] = []
        self.victims: list[Victim] = []
        self.deaths = Counter[str]()
        self.restarts: list[float] = []

    @property
    def urls(self) -> Sequence[str]:
        return [server.url for server in self.servers]

    def kill_one(self) -> None:
        """Kill somebody, and start it again."""
        victim = self.chance.choice(self.victims)
        self._kill(victim, victim.name)

    def break_connections(self) -> None:
        """Let the connections to the database break, where there are any."""

    def _kill(self, victim: Victim, name: str) -> None:
        victim.kill()
        self.deaths[name] += 1
        victim.start()
        self.restarts.append(time.time())

    def all_up(self) -> bool:
        return all(victim.is_up() for victim in self.victims)

    async def supervise(self) -> None:
        """Start again whatever ends by itself: a server that finds no database, a database that is still in use."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for victim in self.victims:
                if victim.has_ended():
                    victim.kill()
                    victim.start()

    async def until_up(self) -> None:
        """Wait until everybody is."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not await asyncio.to_thread(self.all_up):
            assert time.monotonic() < give_up, [each.name for each in self.victims if not each.is_up()]
            await asyncio.sleep(LOOK_SECONDS)

    def end(self) -> None:
        for victim in self.victims:
            victim.kill()


class PostgresFleet(Fleet):
    """Servers, one of them on a cable that breaks, workers, a database and a broker."""

    cluster: Cluster
    cable: Cable

    def kill_one(self) -> None:
        kind = self.chance.choices(list(DEATHS), list(DEATHS.values()))[0]
        if kind == "a process of postgres":
            self.cluster.kill_one_of_it(self.chance)
            self.deaths[kind] += 1
            self.restarts.append(time.time())
        else:
            victim = self.chance.choice([each for each in self.victims if each.name.startswith(kind)])
            self._kill(victim, kind)

    def break_connections(self) -> None:
        if self.chance.random() < BREAKS_PER_DEATH:
            self.cable.hang_up_at_commit(self.chance.choice(("before", "after")))


def a_network(folder: Path, *installations: Installation) -> tuple[Kpay, str]:
    """Make the sandbox that all of a fleet asks; return it, and the URL of its journal."""
    journal = f"sqlite:///{folder}/network.db"
    network = Kpay(installations[0], "sandbox", "--journal", journal, port=own_port())
    for installation in installations:
        installation.settings["KPAY_SANDBOX_URL"] = network.url
    return network, journal


def settings(**more: str) -> dict[str, str]:
    return {"KPAY_ALLOW_LOCAL_WEBHOOKS": "1", "KPAY_TEST_CLOCK": "1", "KPAY_LOG_FORMAT": "json", **more}


@contextmanager
def on_sqlite(folder: Path, chance: random.Random, *, network_dies: bool = False) -> Generator[Fleet]:
    """Run everything in one process beside the network, as most do who begin; the network may die as well."""
    installation = Installation(folder, f"sqlite:///{folder}/kpay.db", **settings())
    network, journal = a_network(folder, installation)
    fleet = Fleet(installation, chance, network, journal)
    fleet.servers = [Kpay(installation, "serve", port=own_port(), name="server")]
    fleet.victims = [*fleet.servers, *([network] if network_dies else [])]
    with running(fleet):
        yield fleet


@contextmanager
def on_postgres(folder: Path, chance: random.Random, *, servers: int = 2) -> Generator[PostgresFleet]:
    """Run servers, the last of them on a cable, and two workers on a PostgreSQL and a Redis of their own."""
    with ExitStack() as stack:
        cluster, broker = Cluster(folder), redis(folder)
        stack.callback(cluster.kill)
        cluster.start()
        until(cluster.is_up)
        cable = stack.enter_context(Cable(cluster.url))
        given = settings(KPAY_BROKER_URL=f"redis://127.0.0.1:{broker.port}/0")
        installation = Installation(folder, cluster.url, **given)
        on_the_cable = Installation(folder, cable.url, **given)
        network, journal = a_network(folder, installation, on_the_cable)
        fleet = PostgresFleet(installation, chance, network, journal)
        fleet.cluster, fleet.cable = cluster, cable
        fleet.servers = [
            Kpay(where, "serve", port=own_port(), name=f"server-{number}")
            for number, where in enumerate([installation] * (servers - 1) + [on_the_cable])
        ]
        workers = [Kpay(installation, "worker", name=f"worker-{number}") for number in (1, 2)]
        programs: list[Program] = [cluster, broker]
        fleet.victims = [*programs, *fleet.servers, *workers]
        broker.start()
        with running(fleet):
            yield fleet


@contextmanager
def running(fleet: Fleet) -> Generator[None]:
    """Run the network and all others until one leaves."""
    fleet.network.start()
    until(fleet.network.is_up)
    fleet.installation.migrate()
    try:
        for victim in fleet.victims:
            if isinstance(victim, Kpay):
                victim.start()
        until(fleet.all_up)
        yield
    finally:
        fleet.end()
        fleet.network.kill()
