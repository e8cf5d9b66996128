"""
How fast K-Payments is, beside what could be expected of it on the same machine.

    python -m benchmarks                    everything that is aimed at, but for the ledger's and the audit's promises
    python -m benchmarks ratios peers       some parts of it; `all` for all
    python -m benchmarks --quick            see that it works
    python -m benchmarks --json FILE --plot FILE.svg

What is aimed at is in `goals`. Each of `parts` measures some of it, with `programs` that are processes of their own.
What is measured, and what is not, is told in docs/explanation/performance.md.
"""
