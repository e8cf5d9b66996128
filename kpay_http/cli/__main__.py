"""`python -m kpay_http.cli` is `kpay`."""

from kpay_http.cli.main import main

main()
