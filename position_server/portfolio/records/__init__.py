"""All SQL of the nightly batch.

::

    runs        who runs which batch for which date    factors    fits and exposures
    prices      positions' symbols, instruments, closes
    snapshots   books at a day's close                 trades     what was traded between two days
    valuations  of private positions, by hand          onboarding new symbols, a job each

Each function takes an open connection: the caller decides what is one transaction. No numpy.
"""
