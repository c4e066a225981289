"""All SQL of the simulation service.

::

    jobs         jobs: created, claimed, ended        details     their model-days, as the runner marks them
    model_days   a completed day: written at once     reading     jobs and results, as they are asked for
    prices       the bars of the store

Each function takes an open connection: the caller decides what is one transaction.
"""
