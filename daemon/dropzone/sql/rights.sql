-- What this user may do, as rows of what is needed, whether it is granted, and how.

-- name: rights
WITH here AS (
    SELECT current_database() AS base,
        current_user AS who,
        to_regnamespace('dropzone') AS space,
        EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') AS vectors,
        (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS super,
        coalesce(
            (SELECT bool_or(trusted) FROM pg_available_extension_versions
             WHERE name = 'vector'),
            false
        ) AS trusted
), tables AS (
    SELECT c.oid, c.relname, p.privilege
    FROM pg_class c, here,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS p (privilege)
    WHERE c.relnamespace = here.space AND c.relkind = 'r'
        AND (c.relname <> 'migrations' OR p.privilege = 'SELECT')
)
SELECT format('CREATE on database %I', base) AS need,
    has_database_privilege(base, 'CREATE') AS granted,
    format('GRANT CREATE ON DATABASE %I TO %I', base, who) AS mend
FROM here WHERE space IS NULL
UNION ALL
SELECT 'extension vector',
    vectors OR super OR (trusted AND has_database_privilege(base, 'CREATE')),
    'as a superuser of this database: CREATE EXTENSION vector'
FROM here
UNION ALL
SELECT 'USAGE on schema dropzone',
    has_schema_privilege(space, 'USAGE'),
    format('GRANT USAGE ON SCHEMA dropzone TO %I', who)
FROM here WHERE space IS NOT NULL
UNION ALL
SELECT format('%s on table dropzone.%I', privilege, relname),
    has_table_privilege(oid, privilege),
    format('GRANT %s ON dropzone.%I TO %I', privilege, relname, who)
FROM tables, here;
