"""A process that runs one job with a real worker: `run_job.py STORE_URL FOLDER`.

Says `running` at each change, and its status at the end."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from position_server.compute import tasks
from position_server.compute.pool import ComputePool
from position_server.simulation.requests import TriggerRequest
from position_server.store.engine import open_store
from tests.simulation.desk import Desk


def main(url: str, folder: Path) -> None:
    with open_store(url) as store:
        desk = Desk(store, url, folder)
        pool = ComputePool(tasks.OPEN_SIMULATION, (url, "USD"), workers=1, queue=8, niceness=0)
        with desk.service(open_pool=lambda: pool) as service:
            outcome = service.trigger(TriggerRequest(start_date=date(2025, 6, 2), end_date=date(2025, 8, 29)))
            service.subscribe(lambda _: print("running", flush=True))  # noqa: T201 it is how it talks
            service.run(outcome.job.job_id)  # type: ignore[union-attr]
            print(service.progress(outcome.job.job_id)["status"], flush=True)  # type: ignore[union-attr]  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
