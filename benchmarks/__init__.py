"""
How fast K-Payments is, beside what could be expected of it on the same machine.

    python -m benchmarks            ratios to a bare handler and to pgbench, from one run
    python -m benchmarks growth     the cost of a request after 1,000 and after 50,000 charges
    python -m benchmarks memory     the server's memory over 100,000 charges
    python -m benchmarks ledger     what the ledger adds to a charge; settling; long payouts and large balances
    python -m benchmarks audit      the time and memory of an audit of a million transfers

What is measured, and what is not, is told in docs/explanation/performance.md.
"""
