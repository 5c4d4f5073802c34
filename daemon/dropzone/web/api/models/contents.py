"""What was indexed, and the collections it lies in."""

from pydantic import BaseModel


class Collection(BaseModel):
    """The ended jobs of a collection, and those under way.

    ``failed`` wait for a person in failed/. ``has_folder`` tells whether input/ has a
    folder for it now: it may be empty, and nothing else known of it. ``documents`` are
    what Postgres holds of it, None while it cannot be asked.
    ``last_drop_at`` is when the last file was taken; when it came is not known.
    """

    zone: str
    collection: str
    files: int
    bytes: int
    outcomes: dict[str, int]
    failed: int
    under_way: int
    has_folder: bool
    documents: int | None
    last_drop_at: float | None


class CollectionTold(Collection):
    """One collection; ``folder`` is where files are dropped into it."""

    folder: str
    types: dict[str, int]
    documents_unknown: str


class Collections(BaseModel):
    """``documents_unknown`` says why the documents cannot be counted, if so."""

    collections: list[Collection]
    documents_unknown: str


class Hit(BaseModel):
    """A passage; ``marks`` are the start and end of matching words in the snippet."""

    document_id: int
    seq: int
    collection: str
    name: str
    path: str
    path_quoted: str
    zone: str
    job: str
    s3_key: str
    sha256: str
    page: int | None
    heading: str
    snippet: str
    marks: list[tuple[int, int]]
    score: float
    matched_by: str
    given: dict[str, str]


class Hits(BaseModel):
    """``model`` is what made the vectors; hash-v1 compares words, not meaning."""

    hits: list[Hit]
    model: str
