"""Market data: the newest quote of every configured asset, kept fresh under a call budget.

Everything here is synchronous and runs in threads of its own, cancelled by a stop event; events carry what it finds to
the rest of the system. It computes nothing and knows no environment::

    service  room           the room's face for the application and HTTP · what its thread works with
    batch  beats  runs      the turns of priority batch, queue and enqueuing · when each is due · who waits for one
    updater  plausible      permit → provider → store → event · what a quote must be like to be stored
    plan  ages              how old each symbol gets under the budget
    priority_queue          symbols that wait to be fetched, most important first
    rate_limiter  meter     at most N calls in any W seconds, in order of arrival, in all processes · what this one used
    call_book               pure: who called when, who is next, and when
    second_place            permits for other work: quotes come first
    ledger  redis_ledger    where that book is kept: the store, Redis
    provider/  demo_process the REST client, every failure its own error · the invented provider as a child process
    follower  changes       quotes that other processes stored, told to this process's bus
    assets  results  rows   what is fetched · what a turn did · what HTTP shows
    records                 all SQL of the room but the ledger's
"""
