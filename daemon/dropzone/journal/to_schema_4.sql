-- From schema 3: paths as they are compared.

ALTER TABLE jobs ADD COLUMN folded TEXT;
UPDATE jobs SET folded = folded(path) WHERE folded(path) IS NOT NULL;
