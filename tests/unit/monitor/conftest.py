"""What is logged, as in the tests of the web process."""

from tests.unit.web.conftest import lines

__all__ = ["lines"]
