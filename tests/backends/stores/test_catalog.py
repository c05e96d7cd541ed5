"""Which store a reference gets, and what is imported for it."""

import subprocess
import sys

import pytest

from poolhand.backends.stores.base import MetadataStore, WholeStore
from poolhand.backends.stores.catalog import store_for
from poolhand.backends.stores.gs import GsStore
from poolhand.backends.stores.hf import HfStore
from poolhand.backends.stores.https import HttpsStore
from poolhand.backends.stores.local import LocalStore
from poolhand.backends.stores.ngc import NgcStore
from poolhand.backends.stores.s3 import S3Store
from poolhand.config.errors import ConfigInvalid
from poolhand.config.refs import ModelRef
from poolhand.config.settings import S3, Stores
from poolhand.config.stores import Gs


def test_each_scheme_gets_its_store() -> None:
    assert isinstance(store_for(ModelRef.parse("s3://models/a"), Stores(), {}), S3Store)
    assert isinstance(store_for(ModelRef.parse("file:///srv/a"), Stores(), {}), LocalStore)
    assert isinstance(store_for(ModelRef.parse("org/a"), Stores(), {}), HfStore)
    assert isinstance(store_for(ModelRef.parse("ngc://org/a:1"), Stores(), {}), NgcStore)
    web = store_for(ModelRef.parse("https://h.example/a/manifest.json"), Stores(), {})
    assert isinstance(web, HttpsStore)
    bucket = ModelRef.parse("gs://bucket/a")
    assert isinstance(store_for(bucket, Stores(), {}), GsStore)
    interoperable = store_for(bucket, Stores(gs=Gs(auth="hmac")), {})
    assert isinstance(interoperable, S3Store)
    assert interoperable.name == "https://storage.googleapis.com/bucket"


@pytest.mark.parametrize(
    "ref",
    ["s3://b1/a", "gs://b1/a", "org/a", "ngc://o1/a:1", "file:///a", "https://h/manifest.json"],
)
def test_every_store_can_be_narrowed_and_widened(ref: str) -> None:
    store = store_for(ModelRef.parse(ref), Stores(), {})
    assert isinstance(store, WholeStore)
    assert isinstance(store, MetadataStore)


def test_settings_and_environment_reach_the_store() -> None:
    ref = ModelRef.parse("s3://models/a")
    named = store_for(ref, Stores(s3=S3(endpoint="http://a:1")), {"AWS_ENDPOINT_URL": "http://b:2"})
    assert named.name == "http://a:1/models"
    assert store_for(ref, Stores(), {"AWS_ENDPOINT_URL": "http://b:2"}).name == "http://b:2/models"
    with pytest.raises(ConfigInvalid):
        store_for(ref, Stores(), {"AWS_ENDPOINT_URL": "b:2"})


def python(program: str) -> str:
    """Run a program in a fresh interpreter; give back what it printed."""
    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


CHOOSE = """
import sys
from poolhand.backends.stores.catalog import store_for
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores
refs = ["s3://models/a", "gs://models/a", "org/a", "ngc://org/a:1", "https://h/manifest.json"]
stores = [store_for(ModelRef.parse(ref), Stores(), {}) for ref in refs]
roots = {name.partition(".")[0] for name in sys.modules}
print(sorted(roots & {"aiobotocore", "botocore", "aiohttp", "cryptography"}))
"""

WITHOUT = """
import sys
class Without:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "aiobotocore":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Without())
from poolhand.backends.stores.catalog import store_for
from poolhand.backends.stores.errors import StoreUnsupported
from poolhand.config.refs import ModelRef
from poolhand.config.settings import Stores
try:
    store_for(ModelRef.parse("s3://models/a"), Stores(), {})
except StoreUnsupported as error:
    print(error.needs)
"""

BASE = """
import sys
before = set(sys.modules)
import poolhand.backends.stores.base
ours = {name for name in sys.modules if name.startswith("poolhand")}
heavy = {"asyncio", "pydantic", "ssl", "socket", "http", "urllib", "email"}
print(sorted(ours), sorted(heavy & set(sys.modules) - before))
"""


def test_choosing_s3_imports_none_of_its_libraries() -> None:
    assert python(CHOOSE) == "[]"


def test_without_the_extra_it_names_what_to_install() -> None:
    assert python(WITHOUT) == "pip install 'poolhand[s3]'"


def test_what_a_store_is_costs_next_to_nothing_to_import() -> None:
    base = ["poolhand", "poolhand.backends", "poolhand.backends.stores"]
    values = ["poolhand.config", "poolhand.config.frozen"]
    assert python(BASE) == f"{[*base, 'poolhand.backends.stores.base', *values]} []"
