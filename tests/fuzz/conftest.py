"""How many examples each test of this folder tries: few in the suite, ten thousand in tox's `fuzz`."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "fuzz",
    max_examples=int(os.environ.get("ASYNCAPI_FUZZ_EXAMPLES", "60")),
    deadline=None,
    derandomize="ASYNCAPI_FUZZ_EXAMPLES" not in os.environ,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("fuzz")
