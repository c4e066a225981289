"""Who may ask: API keys with roles, kept hashed in the store, and the guard that knows them.

Knows neither HTTP answers nor Tornado: `web/admission.py` turns what the guard says into 401 and 403. Only `records.py`
imports the store, and only the thread and the command that use it import `records.py`: SQLAlchemy costs a quarter of a
second of the server's start.
"""

from position_server.access.guard import Guard, Unknown
from position_server.access.keys import ApiKey, Caller, Role, new_key

__all__ = ["ApiKey", "Caller", "Guard", "Role", "Unknown", "new_key"]
