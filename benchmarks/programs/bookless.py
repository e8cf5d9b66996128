"""
`kpay` without the ledger, to measure what the ledger adds to a charge.

    python -m benchmarks.programs.bookless serve --port PORT

In this process, and in no other, a charge means no transfers: so recording it writes none, holds no book and turns no
sheet. All else is as ever; the book is still read for what the charge costs.
"""

from kpay_core.domain import postings
from kpay_core.domain.charges import Charge
from kpay_http.cli.main import main


def book_nothing(_: Charge) -> postings.Entries:
    return ()


if __name__ == "__main__":
    postings.of_charge = book_nothing
    main()
