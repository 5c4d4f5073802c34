-- name: server
SELECT current_setting('server_version') AS version,
    current_setting('server_version_num')::int / 10000 AS major,
    current_database() AS database,
    (SELECT pg_encoding_to_char(encoding) FROM pg_database
        WHERE datname = current_database()) AS encoding,
    current_user AS "user",
    current_setting('transaction_read_only') = 'on' AS read_only,
    (SELECT source FROM pg_settings WHERE name = 'default_transaction_read_only')
        AS read_only_by,
    pg_is_in_recovery() AS standby,
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int AS places,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
        AS used,
    (SELECT installed_version FROM pg_available_extensions WHERE name = 'vector')
        AS installed,
    (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')
        AS available

-- name: closed_tables
SELECT relation.relname::text AS name
FROM pg_class AS relation
JOIN pg_namespace AS space ON space.oid = relation.relnamespace
WHERE space.nspname = 'dropzone'
    AND relation.relkind IN ('r', 'p')
    AND relation.relname <> 'migrations'
    AND NOT (
        has_schema_privilege(space.oid, 'USAGE')
        AND has_table_privilege(relation.oid, 'SELECT')
        AND has_table_privilege(relation.oid, 'INSERT')
        AND has_table_privilege(relation.oid, 'UPDATE')
        AND has_table_privilege(relation.oid, 'DELETE')
    )
ORDER BY relation.relname
