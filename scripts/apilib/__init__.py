"""The description of the API, from its code: as OpenAPI, and as a page. Started by `scripts/api_doc.py`."""
