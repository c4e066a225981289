"""The dotted names of everything that runs in a worker.

The serving process names its work instead of importing it: importing would bring numpy and the formulas along.
Each function takes the worker's workbench first.
"""

from __future__ import annotations

OPEN_WORKBENCH = "position_server.sections.base.wrapper:open_workbench"
LIST_SECTIONS = "position_server.sections.base.wrapper:list_sections"
RUN_SECTION = "position_server.sections.base.wrapper:run_section"

PING = "position_server.compute.worker:answer_ping"

OPEN_FITTING = "position_server.portfolio.fitting:open_workbench"
FIT_SYMBOLS = "position_server.portfolio.fitting:fit"

OPEN_SIMULATION = "position_server.simulation.model_day:open_workbench"
RUN_MODEL_DAY = "position_server.simulation.model_day:run_model_day"
CHECK_MODELS = "position_server.simulation.model_day:check_models"  # on any workbench: it needs none
