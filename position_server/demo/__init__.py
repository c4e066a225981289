"""The invented desk: real market data that ship with the package, theoretical closes, invented books.

::

    build        the store: everything below, loaded like a desk's own files, renamed into place when complete
    rows         as lines of the load files, and copies of them    market_rows   closes, curves, FX
    books        what the books hold, day by day    trading  how they trade    holdings  what a trade does to a position
    quotes       invented quotes          tape, ranges   between which prices each day traded
    theory       theoretical closes       pricing        the day's curve, bonds and baskets, by `analytics`
    desk         the instruments          contracts      the exchanges' date rules
    sources      the shipped files        dice           seeded chance
    provider     HTTP in the quote provider's format    feed  what it knows    snapshot  what it shows at one moment
    spot_market, option_chain    what moves, and options on it, by `movement`, a path in time
    proxies      indices in place of factor ETFs        splits  bars as if there had been none

What is real, theoretical and invented is listed in docs/data.md.
"""
