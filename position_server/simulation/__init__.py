"""Simulations: model portfolios, day by day, over the prices of the store.

::

    service        the face of the room for a server
    jobs           the service: trigger, status, cancel, results, and the threads that run jobs
    creation       triggers become jobs             decision   pure: a new job, the same one, a conflict, nothing
    requests       what clients may ask             config     configs/*.json       due   pure: which days are due
    runner         one job, date by date            ownership  who runs it, and whether that process lives
    status         jobs as clients see them         results, figures   what the models did
    audit          api_audit.log                    records    all SQL

    in workers     model_day   one model-day        tools      prices, trades, portfolio: no look-ahead
                   prices      what is known        holdings   shares and cents     splits
                   registry    the kinds            models/    one file each

`calls` crosses between the two. What the serving process imports (everything but the last group) reaches no numpy.
"""
