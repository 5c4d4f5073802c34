"""A small code base with one planted thing after the other, and decoys.

``#! DZ101`` at the end of a line says what is to be found there.
"""

PLANTED: dict[str, str | dict[str, str]] = {
    "aws clients": """
        import boto3
        import boto3 as b
        import boto3.session
        import aioboto3, botocore.session
        from aiobotocore.session import get_session
        from boto3 import client as c, resource
        from boto3.session import Session as S
        boto3.client("s3")  #! DZ101
        b.resource("s3")  #! DZ101
        c("s3"), resource("sqs")  #! DZ101 DZ101
        S()  #! DZ102
        S(profile_name="x").client("s3")  #! DZ102 DZ101
        boto3.session.Session().resource("s3")  #! DZ102 DZ101
        boto3.DEFAULT_SESSION.client("s3")  #! DZ101
        boto3.setup_default_session()  #! DZ102
        botocore.session.get_session().create_client("s3")  #! DZ102 DZ101
        aioboto3.Session()  #! DZ102
        async def f():
            async with get_session().create_client("s3") as s3:  #! DZ102 DZ101
                await s3.list_buckets()
            async with aioboto3.Session() as session:  #! DZ102
                async with session.client("s3"):  #! DZ101
                    pass
        """,
    "inside functions and classes": """
        def f():
            import boto3
            from psycopg2 import connect
            def g():
                return boto3.client("s3")  #! DZ101
            return connect("x"), g  #! DZ201
        class Store:
            import boto3 as aws
            def __init__(self, session: "aws.Session | None"):
                self.session = session
            def go(self):
                return self.aws.client("s3")  #! DZ101
        """,
    "names for it": """
        import boto3
        import psycopg2, asyncpg as pg
        make = boto3.client
        make("s3")  #! DZ101
        again = other = make
        other("s3"), again("s3")  #! DZ101 DZ101
        one, (two) = boto3.client, psycopg2.connect
        one("s3"); two("x")  #! DZ101 DZ201
        lib = boto3 if make else None
        lib.client("s3")  #! DZ101
        (boto3.client if lib else None)("s3")  #! DZ101
        if (m := boto3.resource):
            m("s3")  #! DZ101
        for driver in (psycopg2, pg):
            driver.connect("x")  #! DZ201
        class A:
            make = boto3.client
            def __init__(self):
                self.connect = pg.connect
            def go(self):
                self.make("s3")  #! DZ101
                return self.connect()  #! DZ201
        exported = boto3.client  #! DZ101
        """,
    "handed on": """
        import boto3, functools, psycopg, concurrent.futures
        from functools import partial as p
        from mlflow import MlflowClient
        x = functools.partial(boto3.client, "s3")
        x()  #! DZ101
        p(psycopg.connect, "x")()  #! DZ201
        z = p(MlflowClient, "x")  #! DZ302
        list(map(boto3.client, ["s3", "sqs"]))  #! DZ101
        table = {"s3": boto3.client}  #! DZ101
        def f(make=boto3.client): return make("s3")  #! DZ101
        def g(): return psycopg.connect  #! DZ201
        concurrent.futures.ThreadPoolExecutor().submit(MlflowClient)  #! DZ302
        class A:
            lazy = functools.cached_property(boto3.client)  #! DZ101
        """,
    "by text": """
        import importlib, sys
        from importlib import import_module
        import boto3
        getattr(boto3, "client")("s3")  #! DZ101
        NAME = "resource"
        getattr(boto3, NAME, None)("s3")  #! DZ101
        importlib.import_module("boto3").client("s3")  #! DZ101
        import_module("psycopg2").connect("x")  #! DZ201
        aws = __import__("boto3")
        aws.client("s3")  #! DZ101
        sys.modules["boto3"].client("s3")  #! DZ101
        vars(boto3)["client"]("s3")  #! DZ101
        boto3.__dict__["client"]("s3")  #! DZ101
        __import__("boto3.session", fromlist=["Session"]).Session()  #! DZ102
        """,
    "stars": """
        from boto3 import *
        from psycopg2 import *
        from mlflow import *
        client("s3")  #! DZ101
        connect("x")  #! DZ201
        start_run()  #! DZ301
        """,
    "flow": """
        try:
            import psycopg2 as db
        except ImportError:
            db = None
        boto = None
        def connect():
            global boto
            import boto3 as boto
        def use():
            return boto.client("s3"), db.connect()  #! DZ101 DZ201
        def session():
            import boto3
            return boto3.Session()  #! DZ102
        session().client("s3")  #! DZ101
        class Lazy:
            @property
            def session(self):
                return session()
            def go(self):
                return self.session.resource("s3")  #! DZ101
        def given(s: "__import__('x').Y", t: "Session | None"): ...
        if use:
            from boto3 import Session
        class Mine(Session):
            pass
        Mine().client("s3")  #! DZ102 DZ101
        def typed(one: Session, two: "Session | None" = None):
            one.client("s3")  #! DZ101
            two.client("s3")  #! DZ101
        """,
    "postgres": """
        import psycopg, psycopg2.pool, asyncpg, psycopg_pool
        import sqlalchemy as sa
        from sqlalchemy.ext.asyncio import create_async_engine
        from psycopg_pool import AsyncConnectionPool
        psycopg.Connection.connect("x")  #! DZ201
        async def f(url):
            await psycopg.AsyncConnection.connect("x")  #! DZ201
            await asyncpg.connect()  #! DZ201
            await asyncpg.create_pool()  #! DZ202
            async with AsyncConnectionPool(url):  #! DZ202
                create_async_engine(url)  #! DZ203
        psycopg_pool.ConnectionPool()  #! DZ202
        psycopg2.pool.ThreadedConnectionPool(1, 2)  #! DZ202
        sa.create_engine("postgresql+psycopg://h/d")  #! DZ203
        sa.engine_from_config({})  #! DZ203
        """,
    "mlflow": """
        import mlflow
        import mlflow as ml
        from mlflow import log_metric, MlflowClient as M
        from mlflow.tracking import MlflowClient
        import mlflow.sklearn
        mlflow.set_tracking_uri("x")  #! DZ301
        ml.set_experiment("x")  #! DZ301
        with mlflow.start_run() as run:  #! DZ301
            log_metric("x", 1)  #! DZ301
            mlflow.log_params({})  #! DZ301
            mlflow.sklearn.log_model(None, "x")  #! DZ301
        mlflow.sklearn.autolog()  #! DZ301
        M("x"), MlflowClient(), ml.client.MlflowClient()  #! DZ302 DZ302 DZ302
        @mlflow.trace  #! DZ301
        def f(): ...
        """,
    "keys": """
        import boto3, os
        aws_access_key_id = "AKIAQWERTYUIOPASDFGH"  #! DZ401
        x = ["ASIAQWERTYUIOPASDFGH"]  #! DZ401
        split = "AKIA" "QWERTYUIOPASDFGH"  #! DZ401
        raw = b"AKIAQWERTYUIOPASDFGH"  #! DZ401
        plus = "AKIA" + "QWERTYUIOPASDFGH"  #! DZ401
        url = f"https://x/?key=AKIAQWERTYUIOPASDFGH&t={x}"  #! DZ401
        SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCY"
        boto3.client(  #! DZ101
            "s3",
            aws_access_key_id="minioadmin",  #! DZ401
            aws_secret_access_key="minio123",  #! DZ402
            aws_session_token="x" "yz",  #! DZ402
        )
        os.environ["AWS_SECRET_ACCESS_KEY"] = "abc/def"  #! DZ402
        os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "abc/def")  #! DZ402
        config = {"secretAccessKey": "abc/def"}  #! DZ402
        y = login("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")  #! DZ402
        """.replace('bPxRfiCY"\n', 'bPxRfiCY"  #! DZ404\n'),
    "passwords": """
        import psycopg2, os
        x = "h"
        psycopg2.connect(host="h", password="secret")  #! DZ201 DZ404
        psycopg2.connect("host=h user=u password=hunter2")  #! DZ201 DZ403
        psycopg2.connect("postgresql://user:password@localhost/db")  #! DZ201 DZ403
        a = f"postgresql://u:hunter2@{x}/db"  #! DZ403
        b = f"{x}://u:hunter2@h"  #! DZ403
        c = "postgresql://u:" + "hunter2" + "@h"  #! DZ403
        d = "postgresql://h/d?user=u&password=hunter2"  #! DZ403
        e = "Server=h;Database=d;Password=hunter2;"  #! DZ403
        f = b"redis://:hunter2@h:6379/0"  #! DZ403
        DB_PASSWORD = "hunter2"  #! DZ404
        g = {"host": "h", "password": "secret"}  #! DZ404
        h = os.getenv("PGPASSWORD", "hunter2")  #! DZ404
        def connect(user, password="hunter2"): ...  #! DZ404
        class Settings:
            db_password: str = "hunter2"  #! DZ404
        i = Settings(dbPassword=f"hunter2")  #! DZ404
        hidden = "hunter2"  #! DZ404
        j = Settings(password=hidden)
        password = os.getenv("PGPASSWORD") or "hunter2"  #! DZ404
        user, password = "u", "hunter2"  #! DZ404
        db_password = SecretStr("hunter2")  #! DZ404
        password = "hunter2".encode()  #! DZ404
        parser.add_argument("--db-password", default="hunter2")  #! DZ404
        api_key = "hunter2" if user else None  #! DZ404
        """,
    "old managers": """
        from infrastructure.session.unified import get_global_session_manager
        from ..session import UnifiedSessionManager as Manager
        import tidy.session
        get_global_session_manager()  #! DZ501
        Manager().get_s3_client()  #! DZ501
        tidy.session.get_unified_session_manager()  #! DZ501
        """,
    "across files": {
        "app/__init__.py": "",
        "app/aws.py": "import boto3\nmake = boto3.client  #! DZ101\nlib = boto3\n",
        "app/between.py": "from app.aws import make as m, boto3\n",
        "app/use.py": """
            from . import aws
            from .aws import make, lib as z
            from app.between import m, boto3
            import app.aws
            aws.make("s3")  #! DZ101
            make("s3")  #! DZ101
            z.resource("s3")  #! DZ101
            m("s3")  #! DZ101
            boto3.client("s3")  #! DZ101
            app.aws.make("s3")  #! DZ101
            """,
        "app/star.py": "from .aws import *\nmake('s3')  #! DZ101\n",
    },
}

DECOYS: dict[str, str] = {
    "names of one's own": """
        import boto3
        class boto3_like:
            def client(self, name): ...
        def client(name): ...
        def f(boto3): boto3.client("s3")
        def g():
            boto3 = boto3_like()
            boto3.client("s3")
        [boto3.client("x") for boto3 in [boto3_like()]]
        lambda boto3: boto3.client("x")
        client("s3")
        self = boto3_like(); self.boto3 = boto3_like(); self.boto3.client("s3")
        boto3 = boto3_like()
        boto3.client("s3")
        """,
    "bound again": """
        from boto3 import client, Session
        import psycopg2 as db, mlflow
        with open("x") as client:
            client("x")
        try: ...
        except OSError as db: db.connect()
        for db in [1]: db.connect()
        match 1:
            case mlflow: mlflow.start_run()
        del Session
        def Session(): ...
        Session()
        class A:
            from boto3 import client
        def later(): client("s3")
        """,
    "other libraries": """
        import sqlite3, redis, myboto3, sqlalchemy as sa
        from elsewhere import client, connect, create_engine, start_run, Session
        from .boto3 import client as own
        sqlite3.connect("x"); redis.Redis(); myboto3.client("s3"); own("s3")
        client("s3"), connect("x"), create_engine("x"), start_run(), Session()
        sa.create_engine("sqlite:///x.db"); sa.create_engine(f"mysql://{client}")
        """,
    "only named": """
        import boto3, psycopg, mlflow, functools
        from mlflow import MlflowClient
        from mlflow.entities import Run, Metric
        from typing import cast
        def f(s: boto3.Session, c: MlflowClient) -> psycopg.Connection: ...
        isinstance(f, boto3.Session), cast(MlflowClient, f), boto3.Session
        try: ...
        except psycopg.OperationalError: ...
        class Row(psycopg.rows.Row): ...
        boto3.client
        psycopg.sql.SQL("x"); Metric("a", 1, 2, 3); mlflow.entities.Run()
        mlflow.exceptions.MlflowException("x")
        functools.partial(print, boto3.__version__)
        """.replace("        boto3.client\n", ""),
    "the pool": """
        from dropzone import SessionPool
        from dropzone.compat import UnifiedSessionManager
        from dropzone.sessions import mlflow
        with SessionPool.from_config() as pool:
            pool.s3.client; pool.postgres.connection(); pool.mlflow.client
            mlflow.start_run(); UnifiedSessionManager()
        """,
    "told, not done": '''
        """Like boto3.client("s3") and postgresql://user:hunter2@host/db."""
        # boto3.client("s3"), AKIAQWERTYUIOPASDFGH
        text = "boto3.client('s3')"
        def f():
            """psycopg2.connect("host=h password=hunter2 user=u")"""
        ''',
    "placeholders": """
        import os
        p = os.environ["PGPASSWORD"]
        a = f"postgresql://u:{p}@h/d"
        b = "postgresql://{user}:{password}@{host}/d".format
        c = "postgresql://u:%s@h/d" % p
        d = "postgresql://u:${PASSWORD}@h/d", "postgresql://<user>:<password>@h"
        e = "postgresql://u:" + p + "@h", "postgresql://h:5432/d", "postgresql://u@h/d"
        f = "host=h user=u password=" + p, f"host=h user=u password={p}"
        g = "https://example.com:8080/a@b", "git+ssh://git@h:x", "mailto:a@b"
        password = "", None, "********"
        password = os.getenv("PGPASSWORD", "")
        password = "your-password-here"
        secret = "<secret>"
        """,
    "names of secrets": """
        import argparse
        PASSWORD = "password"
        PASSWORD_VARIABLE = "PGPASSWORD"
        PASSWORD = "PGPASSWORD"
        password_field = "new_password"; password = "new_password"
        password_help = "at least 12 characters"
        prompt = dict(password="Enter your password: ")
        argparse.ArgumentParser().add_argument("--password", "-p", help="The password.")
        schema = {"password": "string", "pwd": "/home"}
        hints = {"InvalidAccessKeyId": "Check the key.", "AWSSecretKey": "Not the id."}
        aws_secret_access_key = "aws_secret_access_key"
        keys = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
        hash_of = "AKIAQWERTYUIOPASDFGHJ", "xAKIAQWERTYUIOPASDFGH"
        token = "("; secret_name = "prod/db"
        sha = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
        api_key = Field(default="", description="The API key.")
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmn"
        """,
}
