"""The nightly portfolio batch: prices and factor exposures of symbols, then one snapshot per book.

::

    symbols_batch   `batch symbols`: its phases       portfolios_batch  `batch portfolios`
    coordination    who runs a batch: waiting, heartbeats, dead runs, superseding
    choice          which symbols are processed       prices            their closes, by a `PriceSource`
    factors         exposures of equities             night             what both batches are given
    snapshots       a book's positions, valued        onboarding        new symbols: the queue, the wait for it
    tie_out         a snapshot against its day        fitting           fits, in a worker of the server
    service         what a server shows and runs      records           all SQL of this room

Two commands run it (`cli/batch.py`). Prices come through a protocol that this room defines, so that it knows no
provider; factors import numpy, so the serving process names that work and sends it to a worker.
"""
