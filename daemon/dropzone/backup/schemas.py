"""The numbers by which a newer version's data is known."""

from dropzone import receipts
from dropzone.journal import schema
from dropzone.sessions.migrate import migrations

#: What this version reads and writes.
SCHEMAS = {
    "journal": schema.VERSION,
    "receipts": receipts.FORMAT,
    "postgres": max(migration.version for migration in migrations()),
}
