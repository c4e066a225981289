"""One of two servers: `two_servers.py STORE_URL FOLDER CLIENTS` waits for a line, then triggers from many threads."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from position_server.store.engine import open_store
from tests.simulation.clients import ONE_WEEK, outcomes_of
from tests.simulation.desk import Desk


def main(url: str, folder: Path, clients: int) -> None:
    with open_store(url) as store:
        desk = Desk(store, url, folder)
        with desk.service() as service:
            print("ready", flush=True)  # noqa: T201 it is how it talks
            sys.stdin.readline()
            print(*outcomes_of(service, [ONE_WEEK] * clients).elements(), sep="\n")  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
