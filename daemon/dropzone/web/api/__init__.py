"""The JSON API below ``/api/v1``: one module for each kind of thing.

Each module has a table of operations, from which come the routes and the OpenAPI
description. Whatever waits runs in a few threads of its own, never in the event loop.
"""
