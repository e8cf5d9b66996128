"""The command line."""

from kpay_http.cli.main import main

__all__ = ["main"]
