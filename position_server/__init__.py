"""position-server: a trading desk's position environment, already computed when a tool asks for it.

The house, roof to ground; a module imports only from floors below its own, and rooms on one floor do not know each
other (import-linter checks both)::

    8  cli                                  which command runs
    7  app  ·  demo                         the one object that owns what runs · the invented desk
    6  web (on health) │ market │ provider_prices   routes, handlers, what is up │ quotes to LIVE │ closes to batches
    5  environment │ market_data │ portfolio │ simulation   the subsystems, apart from each other
    4  sections                             one file each: futures, bonds, …      (imported by workers only)
    3  access │ analytics │ compute         keys and roles │ formulas │ worker processes
    2  store │ events                       tables, bulk reads, market snapshots │ the bus
    1  outcomes (on params) · symbols · logs · metrics   what crosses between the parts · what a symbol is
    0  settings (on business_days) · clock · errors · threads
"""

__version__ = "0.1.0"
