"""Rows: what a read, a page of a list and a charge cost with 50,000 and with 1,000,000 charges, beside 1,000."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import msgspec

from benchmarks import copies, servers
from benchmarks.load import Result
from benchmarks.parts import Findings, Setting, others_of
from benchmarks.rounds import Line, Measured, alternate, compare, show_measured
from benchmarks.servers import Server
from benchmarks.subjects import KEPT_CHARGES, Subject, prepare

SIZES = (1_000, 50_000, 1_000_000)
QUICK_SIZES = (1_000, 2_000, 20_000)

# The default of the API. With so many to a page, page 1,000 is there from 20,000 charges on.
PAGE_SIZE = 20
FAR_PAGE = 1_000

# As many as keep a server busy while its answers still come at once.
CLIENTS = 16

# A charge changes how many rows there are, so they are counted: the small database stays small.
CHARGES_A_ROUND = 200

FIRST_PAGE = f"/v1/charges?limit={PAGE_SIZE}"


class Place(msgspec.Struct, kw_only=True):
    """A server with so many charges, a thousand of which are read, spread evenly over all of them."""

    name: str
    rows: int
    subject: Subject
    far_page: str | None


@contextmanager
def filled(postgres: str | None, rows: int, setting: Setting) -> Iterator[Place]:
    """Run a server on a database with so many charges, all but one of them made by SQL."""
    with servers.kpay(postgres) as server:
        model = json.loads(prepare(server, kept=1).charges[0])["id"]
        copies.charges(server.database_url, like=model, count=rows - 1)
        setting.tell(f"{server.name} holds {rows:,} charges")
        yield Place(name=server.name, rows=rows, subject=spread_over(server, rows), far_page=far_page(rows))


def spread_over(server: Server, rows: int) -> Subject:
    """Make a subject that reads charges from everywhere, and knows what each is to be answered with."""
    step = max(1, rows // KEPT_CHARGES)
    ids = [copies.charge_id(number) for number in range(1, rows, step)][:KEPT_CHARGES]
    subject = Subject(server=server, charges=[json.dumps({"id": id}) for id in ids])
    subject.charges_with_refunds = subject.get(clients=1, count=len(ids), collect=True).answers
    assert [json.loads(each)["id"] for each in subject.charges_with_refunds] == ids, (
        "each is answered with itself"
    )
    return subject


def far_page(rows: int) -> str | None:
    """Return the address of page 1,000; None where there are fewer."""
    before = PAGE_SIZE * (FAR_PAGE - 1)
    if rows < before + PAGE_SIZE:
        return None
    # The newest is the real charge, so one copy less stands before the page.
    return f"{FIRST_PAGE}&starting_after={copies.charge_id(rows - (before - 1))}"


def lines(places: list[Place], seconds: float) -> Iterator[Line]:
    """Name what is measured of each place, the same of all next to each other."""

    def get(subject: Subject, clients: int) -> Result:
        return subject.get(clients=clients, seconds=seconds)

    def page(subject: Subject, path: str, clients: int) -> Result:
        return subject.page(path, clients=clients, seconds=seconds)

    def charge(subject: Subject, clients: int) -> Result:
        return subject.charge(clients=clients, count=CHARGES_A_ROUND)

    for place in places:
        yield Line(f"get {place.name}, {place.rows:,} rows", partial(get, place.subject))
    for place in places:
        yield Line(f"page 1 {place.name}, {place.rows:,} rows", partial(page, place.subject, FIRST_PAGE))
    largest = places[-1]
    if largest.far_page:
        name = f"page 1,000 {largest.name}, {largest.rows:,} rows"
        yield Line(name, partial(page, largest.subject, largest.far_page))
    for place in places:
        yield Line(f"charge {place.name}, {place.rows:,} rows", partial(charge, place.subject))


def go(setting: Setting) -> Findings:
    """Fill the databases, and measure them in turn."""
    sizes = QUICK_SIZES if setting.quick else SIZES
    findings = Findings(results=[])
    for name, url in setting.places():
        with ExitStack() as stack:
            places = [stack.enter_context(filled(url, rows, setting)) for rows in sizes]
            found = list(lines(places, setting.seconds))
            measured = alternate(found, clients=(CLIENTS,), rounds=setting.rounds, tell=setting.tell)
        keep_ratios(findings, measured, name, sizes)
        findings.results += measured
        findings.others += others_of([each.result for each in measured])
        findings.tables.append(show_measured(measured))
    return findings


def keep_ratios(findings: Findings, measured: list[Measured], name: str, sizes: tuple[int, int, int]) -> None:
    """Keep what the large databases reach of the small one; a quick look has smaller ones, and says so."""
    small, middle, large = (f"{name}, {rows:,} rows" for rows in sizes)
    note = "" if sizes == SIZES else f"measured with {sizes[0]:,}, {sizes[1]:,} and {sizes[2]:,} rows"

    def keep(goal: str, ours: str, theirs: str) -> None:
        findings.note(goal, compare(measured, ours, theirs, CLIENTS), note=note)

    keep(f"get {name}, 50,000 / 1,000 rows", f"get {middle}", f"get {small}")
    keep(f"get {name}, 1,000,000 / 1,000 rows", f"get {large}", f"get {small}")
    keep(f"list {name}, page 1,000 / page 1", f"page 1,000 {large}", f"page 1 {large}")
    keep(f"list {name}, 1,000,000 / 1,000 rows", f"page 1 {large}", f"page 1 {small}")
    keep(f"charge {name}, 1,000,000 / 1,000 rows", f"charge {large}", f"charge {small}")
