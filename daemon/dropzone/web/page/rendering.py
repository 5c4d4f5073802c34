"""Makes HTML of templates. Every value is escaped; an unknown one is an error."""

import time
from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from dropzone import __version__
from dropzone.web.page import words
from dropzone.web.page.charts import CHARTS
from dropzone.web.page.statics import Statics


class Rendering:
    """The templates, with what all of them use."""

    def __init__(self, statics: Statics) -> None:
        self._statics = statics
        self._templates = Environment(
            loader=PackageLoader("dropzone.web", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._templates.filters.update(words.FILTERS)
        self._templates.globals.update(CHARTS, version=__version__, clock=time.time)

    def __call__(self, template: str, prefix: str, values: Mapping[str, Any]) -> str:
        """Return the page; ``prefix`` is what its links begin with."""

        def static(name: str) -> str:
            return self._statics.url(prefix, name)

        return self._templates.get_template(template).render(
            {"prefix": prefix, "static": static, **values}
        )
