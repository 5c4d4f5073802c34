"""Files on their way in over HTTP: what came of them lies in ``state/uploads``.

``open/ID/`` holds the bytes of an unfinished one with its record, ``landed/ID.json``
the record of one that was renamed into ``input/``. The record and the bytes alone are
the truth: whoever dies between two lines is followed by one who goes on from there.
"""
