"""Put the text files of a folder into S3, Postgres and MLflow: python FILE FOLDER."""

import sys
from pathlib import Path

from dropzone import SessionPool

with SessionPool.from_config() as pool:
    pool.postgres.execute("CREATE EXTENSION IF NOT EXISTS vector")
    pool.postgres.execute(
        "CREATE TABLE IF NOT EXISTS lines (file text, line int, letters halfvec(26))"
    )
    for path in sorted(Path(sys.argv[1]).glob("*.txt")):
        stored = pool.s3.upload(f"texts/{path.name}", path)
        lines = enumerate(path.read_text().splitlines())
        counts = [
            (n, [line.count(chr(97 + i)) for i in range(26)]) for n, line in lines
        ]
        pool.postgres.bulk_insert_embeddings(
            [(path.name, *row) for row in counts], table="lines"
        )
        found = "SELECT count(*) AS lines FROM lines WHERE file = %s"
        (metrics,) = pool.postgres.query(found, [path.name])
        run = pool.mlflow.log_run(
            name=path.name,
            params={"key": stored.key},
            metrics=metrics,
            artifacts=[path],
        )
        print(path.name, stored.size, metrics["lines"], run, flush=True)
