"""Messages about what needs a person: failures, pauses, recoveries, a daily summary.

What was told and what is still to be told lies in ``state/notifications.json``, made
from the receipts. Sending runs beside the pipeline, in processes of its own.
"""
