"""The report of a comparison as a self-contained HTML page."""

from __future__ import annotations

from fsdp_migrate.runtime.report.migration import FileChange, Hunk, Site, changes
from fsdp_migrate.runtime.report.page import render, write

__all__ = ["FileChange", "Hunk", "Site", "changes", "render", "write"]
