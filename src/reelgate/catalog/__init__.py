"""One file per model family, data only. Adding a model is adding a file and a line here."""

from collections.abc import Mapping

from reelgate.catalog import grok_imagine
from reelgate.domain.model import ModelSpec

MODELS: Mapping[str, ModelSpec] = {spec.id: spec for spec in (grok_imagine.SPEC,)}
